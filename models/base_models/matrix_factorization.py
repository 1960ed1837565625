"""Matrix factorization: user · item + bias of the user + bias of the item + bias -> logit; gradients by hand.

Source: Koren, Bell, Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE Computer 42 (2009), with
the sigmoid cross-entropy in place of the squared error. The base model of SML-MF (algorithms.md). Histories change
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from models.base_models.rows import glorot, grown
from models.parameters import ITEM, USER, Parameters, Sizes, Tables
from models.samples import Batch


@dataclass(frozen=True)
class MatrixFactorization:
    """Settings of the model. width: of the tables "user" and "item".

    Its parameters: these, the tables "user_bias" and "item_bias" [rows, 1], and "bias" [1].
    """

    tables: ClassVar[Tables] = {"user": USER, "item": ITEM, "user_bias": USER, "item_bias": ITEM}
    name: Literal["matrix-factorization"] = "matrix-factorization"
    width: int = 8

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be positive, got {self.width}")

    def limits(self, sizes: Sizes) -> dict[str, float]:
        """Glorot's limit for users and items; biases start at zero."""
        factors = {table: glorot(sizes[self.tables[table]] - 1, self.width) for table in ("user", "item")}
        return {**factors, "user_bias": 0.0, "item_bias": 0.0}

    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        """Glorot uniform factors, zero biases, zero cold rows. Raises ValueError without room for a cold row."""
        widths = {"user": self.width, "item": self.width, "user_bias": 1, "item_bias": 1}
        empty = {table: torch.zeros(1, widths[table]) for table in self.tables}
        return {**self.grown(empty, self.limits(sizes), sizes, seed, initialisation), "bias": torch.zeros(1)}

    def grown(
        self, parameters: Parameters, limits: Mapping[str, float], sizes: Sizes, seed: int, initialisation: int
    ) -> Parameters:
        """The parameters with tables of these sizes. Raises ValueError when a table is longer already."""
        return grown(parameters, self.tables, limits, sizes, seed, initialisation)

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """[B]: the logit of each sample."""
        return _logits(parameters, batch, *_factors(parameters, batch))

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits [B], and the gradient of `scale` times the batch's mean loss by each parameter, in its shape."""
        users, items = _factors(parameters, batch)
        logits = _logits(parameters, batch, users, items)
        flowing = ((torch.sigmoid(logits) - batch.labels) * (scale / max(len(batch), 1)))[:, None]
        looked_up = {
            "user": (batch.users, flowing * items),
            "item": (batch.items, flowing * users),
            "user_bias": (batch.users, flowing),
            "item_bias": (batch.items, flowing),
        }
        gradients = {
            table: torch.zeros_like(parameters[table]).index_add_(0, rows, gradient)
            for table, (rows, gradient) in looked_up.items()
        }
        return logits, {**gradients, "bias": flowing.sum(0)}


def _factors(parameters: Parameters, batch: Batch) -> tuple[Tensor, Tensor]:
    return parameters["user"].index_select(0, batch.users), parameters["item"].index_select(0, batch.items)


def _logits(parameters: Parameters, batch: Batch, users: Tensor, items: Tensor) -> Tensor:
    of_user = parameters["user_bias"].index_select(0, batch.users)[:, 0]
    of_item = parameters["item_bias"].index_select(0, batch.items)[:, 0]
    return (users * items).sum(1) + of_user + of_item + parameters["bias"]

"""Embedding & MLP: user, mean of the history, target item -> ReLU layers -> logit; gradients by hand.

Source: the base model of Peng, Pan, Zhang, Zeng, RecSys 2021 (arXiv 2111.04282), section 5.1. With E_u, E_i the tables
and x_0 = [E_u[user] ; mean of E_i[history] ; E_i[item]], an empty history being zeros:

    x_n = relu(x_{n-1} W_n + b_n)        logit = x_{N-1} W_N + b_N        loss = mean of the sigmoid cross-entropy

Written without autograd because on a CPU the graph costs more than the arithmetic. The gradient is an ordinary function
of the parameters: training calls it with the rows of a period, a meta generator with rows that it has generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from models.base_models.rows import drawn, glorot, grown
from models.parameters import ITEM, USER, Parameters, Sizes, Tables
from models.samples import Batch


@dataclass(frozen=True)
class EmbeddingMlp:
    """Settings of the model. width: of the tables; hidden: outputs of the ReLU layers, None for (12, 6).

    Its parameters: tables "user" and "item" [rows, width], and for each layer n = 1 ... N "wn" [in, out] and "bn"
    [out]; the input is 3 · width wide, the last layer has one output.
    """

    tables: ClassVar[Tables] = {"user": USER, "item": ITEM}
    name: Literal["embedding-mlp"] = "embedding-mlp"
    width: int = 8
    hidden: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or min(self.hidden or (1,)) < 1:
            raise ValueError(f"width and hidden must be positive, got {self.width} and {self.hidden}")

    def limits(self, sizes: Sizes) -> dict[str, float]:
        """Glorot's limit of each table, for its number of ids (row 0 is none)."""
        return {table: glorot(sizes[of] - 1, self.width) for table, of in self.tables.items()}

    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        """Fresh parameters: Glorot uniform weights, zero biases, zero cold rows.

        Biases drawn at random would leave half of the ReLUs dead beside embeddings this small.
        Raises ValueError when a table has no room for its cold row.
        """
        empty = {table: torch.zeros(1, self.width) for table in self.tables}
        tensors = dict(self.grown(empty, self.limits(sizes), sizes, seed, initialisation))
        for n, (fan_in, fan_out) in enumerate(pairwise(self._widths()), 1):
            limit = (6 / (fan_in + fan_out)) ** 0.5
            tensors[f"w{n}"] = drawn(f"w{n}", range(fan_in), fan_out, limit, seed, initialisation)
            tensors[f"b{n}"] = torch.zeros(fan_out)
        return tensors

    def grown(
        self, parameters: Parameters, limits: Mapping[str, float], sizes: Sizes, seed: int, initialisation: int
    ) -> Parameters:
        """The parameters with tables of these sizes; tensors are shared.

        A new row depends on (seed, initialisation, table, row) and the limits alone: it is what it would have been,
        had the model begun with it. Raises ValueError when a table is longer already.
        """
        return grown(parameters, self.tables, limits, sizes, seed, initialisation)

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """[B]: the logit of each sample."""
        return self._forward(parameters, batch, self._weights(parameters, batch))[-1][:, 0]

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits [B], and the gradient of `scale` times the batch's mean loss by each parameter, in its shape.

        Nothing is read back from the device. The loss itself is left to whoever wants it: training never does.
        """
        weights = self._weights(parameters, batch)
        layers = self._forward(parameters, batch, weights)
        logits = layers[-1][:, 0]
        gradients: dict[str, Tensor] = {}
        flowing = ((torch.sigmoid(logits) - batch.labels) * (scale / max(len(batch), 1)))[:, None]
        for n in range(len(layers) - 1, 0, -1):
            gradients[f"w{n}"] = layers[n - 1].t() @ flowing
            gradients[f"b{n}"] = flowing.sum(0)
            flowing = flowing @ parameters[f"w{n}"].t()
            if n > 1:
                flowing = torch.ops.aten.threshold_backward(flowing, layers[n - 1], 0)
        return logits, gradients | self._into_tables(parameters, batch, weights, flowing)

    def _widths(self) -> tuple[int, ...]:
        return (3 * self.width, *self.layers, 1)

    @property
    def layers(self) -> tuple[int, ...]:
        """Outputs of the ReLU layers."""
        return (12, 6) if self.hidden is None else self.hidden

    def _weights(self, parameters: Parameters, batch: Batch) -> Sequence[Tensor]:
        """What the means are made with: [B, 1], 1 / length of each history, and 1 for an empty one, whose sum is zeros
        already."""
        return [batch.offsets.diff().clamp_(min=1).to(parameters["item"].dtype).reciprocal_()[:, None]]

    def _input(self, parameters: Parameters, batch: Batch, weights: Sequence[Tensor]) -> list[Tensor]:
        """The parts of x_0, each [B, width]."""
        (one_over_lengths,) = weights
        items = parameters["item"]
        # A sum and a product: torch's mean mode is three times slower on a CPU.
        pooled = F.embedding_bag(batch.history, items, batch.offsets, mode="sum", include_last_offset=True)
        pooled = pooled.mul_(one_over_lengths)
        return [parameters["user"].index_select(0, batch.users), pooled, items.index_select(0, batch.items)]

    def _into_tables(
        self, parameters: Parameters, batch: Batch, weights: Sequence[Tensor], flowing: Tensor
    ) -> dict[str, Tensor]:
        """The gradients of the tables from `flowing`, the gradient of x_0."""
        (one_over_lengths,) = weights
        user, pooled, item = flowing.chunk(3, dim=1)
        owners = torch.repeat_interleave(batch.offsets.diff(), output_size=len(batch.history))
        shares = (pooled * one_over_lengths).index_select(0, owners)
        by_user, by_item = torch.zeros_like(parameters["user"]), torch.zeros_like(parameters["item"])
        return {
            "user": by_user.index_add_(0, batch.users, user),
            "item": by_item.index_add_(0, batch.items, item).index_add_(0, batch.history, shares),
        }

    def _forward(self, parameters: Parameters, batch: Batch, weights: Sequence[Tensor]) -> list[Tensor]:
        """x_0, the outputs x_n of the ReLU layers, and the logits [B, 1]."""
        layers = [torch.cat(self._input(parameters, batch, weights), dim=1)]
        last = len(self.layers) + 1
        for n in range(1, last):
            layers.append(torch.addmm(parameters[f"b{n}"], layers[-1], parameters[f"w{n}"]).relu_())
        layers.append(torch.addmm(parameters[f"b{last}"], layers[-1], parameters[f"w{last}"]))
        return layers

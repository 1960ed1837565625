"""A base model that is somebody's own `torch.nn.Module`: parameters by `torch.func.functional_call`, gradients by
autograd.

    class Net(nn.Module):
        def __init__(self, users: int, items: int, width: int = 8) -> None: ...
        def forward(self, batch: models.samples.Batch) -> Tensor: ...            # the logits [B]

Rules:
1. The constructor is given the sizes that it names (`users`, `items`, `categories`) and the settings. Its tables are
   those `nn.Embedding` and `nn.EmbeddingBag` that have exactly as many rows as one of the sizes; everything else that
   it learns is dense.
2. In the batch that `forward` gets no row is 0: row 0 of every table is zeros and stays zeros, to fill up with
   (`padding_idx=0` changes nothing). Rows are numbers to look up with; `forward` may not see anything else in them,
   for training renumbers the rows that a period needs.
3. Dense parameters begin as the module initialises them, from a seed. Rows are uniform with mean 0 and the standard
   deviation of the module's own initialisation, so that a row born later is what it would have been at first.
4. What cannot be kept exactly is refused by name before anything is learned (module_checks.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits

from models.base_models.module_building import Built, build, built
from models.base_models.module_checks import check
from models.base_models.rows import grown
from models.parameters import Parameters, Sizes, Tables
from models.randomness import rng
from models.samples import Batch, shifted

MEASURED_ROWS = 64
"""The standard deviation of a table is that of at least so many rows: a few say little of their distribution."""


@dataclass(frozen=True)
class Module:
    """name: "package.module:Class" as in settings; settings: keyword arguments of its constructor beside the sizes.

    Parameters are called as the module calls them. Raises ValueError, naming what is wrong with it, when the module
    cannot be had or would not be learned as it stands.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self._built)

    def __getstate__(self) -> dict[str, Any]:
        """Another process builds its own."""
        return {"name": self.name, "settings": self.settings}

    @cached_property
    def _built(self) -> Built:
        return built(self.name, self.settings)

    @property
    def tables(self) -> Tables:
        """The embeddings that have rows of a vocabulary."""
        return self._built.tables

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all parameters; the rows of tables are some number."""
        return {name: tuple(tensor.shape) for name, tensor in self._built.module.named_parameters()}

    def limits(self, sizes: Sizes) -> dict[str, float]:
        """A uniform distribution in ± this has the standard deviation with which the module draws a table."""
        measured = {vocabulary: max(rows, MEASURED_ROWS) for vocabulary, rows in sizes.items()}
        parameters = dict(build(self._built.kind, measured, self.settings, seed=0).named_parameters())
        return {table: (3 * float(parameters[table].detach()[1:].square().mean())) ** 0.5 for table in self.tables}

    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        """Dense parameters as the module draws them from a seed of its own; rows as `grown` draws them."""
        drawn = int(rng(seed, 0, f"init/{initialisation}/{self.name}").integers(2**63))
        module = build(self._built.kind, self._built.sizes, self.settings, drawn)
        dense = {name: tensor.detach() for name, tensor in module.named_parameters()}
        empty = {table: torch.zeros(1, dense.pop(table).shape[1]) for table in self.tables}
        return {**self.grown(empty, self.limits(sizes), sizes, seed, initialisation), **dense}

    def grown(
        self, parameters: Parameters, limits: Mapping[str, float], sizes: Sizes, seed: int, initialisation: int
    ) -> Parameters:
        """The parameters with tables of these sizes. Raises ValueError when a table is longer already."""
        return grown(parameters, self.tables, limits, sizes, seed, initialisation)

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """[B]: the logit of each sample."""
        with torch.no_grad():
            return self._forward(parameters, batch)

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits [B], and the gradient of `scale` times the batch's mean loss by each parameter, in its shape."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
        with torch.enable_grad():
            logits = self._forward(leaves, batch)
            loss = binary_cross_entropy_with_logits(logits, batch.labels.to(logits), reduction="sum")
            total = loss * (scale / max(len(batch), 1))
        gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        return logits.detach(), dict(zip(leaves, gradients, strict=True))

    def with_parameters(self, parameters: Parameters) -> nn.Module:
        """A module of its own that holds `parameters`, for batches as `forward` gets them (`models.samples.shifted`).

        Raises ValueError when they are not this module's.
        """
        module = build(self._built.kind, self._built.sizes, self.settings, seed=0)
        self._built.check_parameters(parameters)
        held = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in self._padded(parameters).items()}
        for name, first in self._built.names.items():
            owner, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(owner), attribute, held[first])
        return module

    def _forward(self, parameters: Parameters, batch: Batch) -> Tensor:
        buffers = {name: buffer.to(batch.labels.device) for name, buffer in self._built.module.named_buffers()}
        logits: Tensor = functional_call(self._built.module, {**self._padded(parameters), **buffers}, (shifted(batch),))
        return logits

    def _padded(self, parameters: Parameters) -> dict[str, Tensor]:
        """The tables with a row of zeros above: rule 2."""
        padded = dict(parameters)
        for table in self.tables:
            padded[table] = torch.cat([parameters[table].new_zeros(1, parameters[table].shape[1]), parameters[table]])
        return padded

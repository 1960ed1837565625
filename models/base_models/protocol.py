"""What training, generators and scoring ask of a base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from models.parameters import Parameters, Sizes, Tables
from models.samples import Batch


@runtime_checkable
class BaseModel(Protocol):
    """A frozen value that holds settings and no tensors; none of its calls changes its arguments."""

    @property
    def name(self) -> str:
        """Name in settings and manifests."""

    @property
    def tables(self) -> Tables:
        """Its tables; every other parameter is dense. Several tables may have rows for one vocabulary."""

    def limits(self, sizes: Sizes) -> dict[str, float]:
        """What the rows of each table are drawn with: a row is uniform in ± this.

        Fixed when a model begins, and kept, so that rows born later come from the same distribution.
        """

    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        """Fresh parameters, on the CPU; the cold rows are zeros."""

    def grown(
        self, parameters: Parameters, limits: Mapping[str, float], sizes: Sizes, seed: int, initialisation: int
    ) -> Parameters:
        """The parameters with tables of these sizes; tensors are shared.

        A new row depends on (seed, initialisation, table, row) and the limits alone: it is what it would have been,
        had the model begun with it. Raises ValueError when a table is longer already.
        """

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """[B]: the logit of each sample."""

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits [B], and the gradient by each parameter of `scale` times the mean sigmoid cross-entropy."""

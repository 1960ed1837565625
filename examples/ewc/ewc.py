"""Elastic weight consolidation, an update method of one's own: learn each period, hold on to what mattered before.

After Kirkpatrick and others, "Overcoming catastrophic forgetting in neural networks" (PNAS 2017), and the running sum
of Schwarz and others, "Progress & Compress" (ICML 2018). A weight's importance F is the mean square of its gradient,
summed over the periods with a decay. A period is learned in two steps:

    θ⁺ = θ trained on the period as incremental update does
    θ  = argmin ½ (x - θ⁺)² + ½ strength · F / mean(F) · (x - θ)²  =  θ⁺ + share · (θ - θ⁺)

The penalty is applied once a period instead of at every step of Adam, so that `models.training.train` can be used as it
stands. The method keeps a base model of its own in its state; the one that all methods share stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.base_models.protocol import BaseModel
from models.parameters import Parameters, sizes_of
from models.samples import Samples
from models.training import Snapshot, train


@dataclass(frozen=True)
class Consolidated:
    """Our own Θ with its optimizer state, and the importance F of each of its weights, in its shape."""

    snapshot: Snapshot
    importance: Mapping[str, Tensor]


@dataclass(frozen=True)
class Ewc:
    """strength: how hard a weight of average importance is held; decay: what a period leaves of earlier importance;
    learning_rate, batch: of the training."""

    method: str = "ewc"
    window: int = 1
    strength: float = 0.01
    decay: float = 0.9
    learning_rate: float = 3e-3
    batch: int = 256

    def __post_init__(self) -> None:
        if self.strength < 0 or not 0 <= self.decay <= 1:
            raise ValueError(f"strength must be at least 0 and decay in 0 ... 1, got {self.strength} and {self.decay}")

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> Consolidated:
        """From the pretrained model; what mattered in the pretraining periods is important."""
        importance = {name: torch.zeros_like(tensor) for name, tensor in snapshot.parameters.items()}
        for samples in periods:
            importance = self._added(base, snapshot.parameters, importance, samples)
        return Consolidated(snapshot, importance)

    def train(
        self,
        state: Consolidated,
        base: BaseModel,
        window: Sequence[Parameters],
        targets: Sequence[Samples],
        seed: int,
        period: int,
    ) -> Consolidated:
        """Learn the period that has just closed, which is the last target."""
        samples, sizes = targets[-1], sizes_of(window[-1], base.tables)
        before = state.snapshot.grown(base, sizes, seed)
        importance = {name: _padded(tensor, before.parameters[name]) for name, tensor in state.importance.items()}
        learned = train(before, base, samples, self.learning_rate, self.batch)
        held = {
            name: torch.lerp(after, before.parameters[name], self._share(importance[name]))
            for name, after in learned.parameters.items()
        }
        return Consolidated(replace(learned, parameters=held), self._added(base, held, importance, samples))

    def candidate(
        self, state: Consolidated, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[Consolidated, Parameters]:
        """Our own model serves."""
        return state, state.snapshot.parameters

    def _share(self, importance: Tensor) -> Tensor:
        """How much of its old value each weight keeps: 0 for one that has never mattered."""
        pull = self.strength * importance / importance.mean().clamp(min=1e-30)
        return pull / (1 + pull)

    def _added(
        self, base: BaseModel, parameters: Parameters, importance: Mapping[str, Tensor], samples: Samples
    ) -> dict[str, Tensor]:
        """The importance with that of one more period."""
        total = {name: self.decay * tensor for name, tensor in importance.items()}
        batches = list(samples.batches(self.batch))
        for batch in batches:
            _, gradients = base.gradients(parameters, batch)
            for name, gradient in gradients.items():
                total[name] += gradient.square() / len(batches)
        return total


def _padded(tensor: Tensor, like: Tensor) -> Tensor:
    """Zeros for the rows that are new."""
    return torch.cat([tensor, tensor.new_zeros(len(like) - len(tensor), *tensor.shape[1:])])

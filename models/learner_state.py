"""Everything that goes on from one update period to the next; saved and restored whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from torch import Tensor

from models import tree
from models.learning import LearningSettings, device_of
from models.parameters import Parameters
from models.samples import Samples
from models.sampling import SamplerState
from models.selection import AUTO, Selection
from models.training import Snapshot


@dataclass(frozen=True)
class LearnerState:
    """The learner after `learned` non-empty periods; a value, never changed in place.

    targets: the samples that generators still train on (while pretraining: all of them), oldest first.
    snapshot: Θ_t and its optimizer state, None while pretraining. window: the last Θ, newest last.
    methods: the state of each update method; candidates: what each would serve until the next period closes.
    selection: what `auto` remembers of the candidates' scores.
    """

    sampler: SamplerState
    learned: int
    targets: tuple[Samples, ...]
    snapshot: Snapshot | None
    window: tuple[Parameters, ...]
    methods: Mapping[str, Any]
    candidates: Mapping[str, Parameters]
    selection: Selection

    @staticmethod
    def start(users: str = "int", items: str = "int") -> LearnerState:
        """Before the first period; `users` and `items` are "int" or "string"."""
        return LearnerState(SamplerState.start(users, items), 0, (), None, (), {}, {}, Selection({}))

    def serving(self, settings: LearningSettings) -> str | None:
        """Name of the method whose candidate serves until the next period closes; None while pretraining."""
        if not self.candidates:
            return None
        return self.selection.chosen(settings.candidates) if settings.serve == AUTO else settings.serve

    def grown(self, settings: LearningSettings) -> LearnerState:
        """Tables with a row for each id known by now; a row born later starts as it would have at first."""
        if self.snapshot is None:
            return self
        base, sizes = settings.base_model, self.sampler.sizes
        snapshot = self.snapshot.grown(base, sizes, settings.seed)
        window = tuple(snapshot.grow_parameters(base, old, sizes, settings.seed) for old in self.window)
        return replace(self, snapshot=snapshot, window=window)


def to_leaves(state: LearnerState) -> dict[str, tree.Leaf]:
    """The state as named tensors and numbers, for a store that knows nothing of its types."""
    return tree.flatten(state)


def from_leaves(leaves: Mapping[str, tree.Leaf], settings: LearningSettings) -> LearnerState:
    """The state that `to_leaves` took apart, on the device of `settings`."""
    device = device_of(settings)
    moved = {path: leaf.to(device) if isinstance(leaf, Tensor) else leaf for path, leaf in leaves.items()}
    kinds = {f"methods.{m.method}": get_type_hints(m.start)["return"] for m in settings.methods}
    return tree.restore(LearnerState, moved, kinds)

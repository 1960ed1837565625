"""The learner as the pipeline sees it: bound to its settings, its state kept in a store.

Only the trainer and replay import this: torch takes seconds to load and 500 MB, and the processes that take in
interactions have no use for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from models import tree
from models.interactions import Interactions
from models.learner import Observer, Outcome, learn
from models.learner_state import LearnerState, from_leaves, to_leaves
from models.learning import LearningSettings, device_of, prepare_process
from models.pretraining import Pretraining
from stream_app.errors import SettingsError
from stream_app.events.periods import UpdatePeriod
from stream_app.fixed import settings_digest
from stream_app.release import release
from stream_app.store.states import Store
from stream_app.versions.model_version import ModelVersion

_PASSES = "pretraining"


def prepare(settings: LearningSettings) -> None:
    """Call once in a process before it learns. Raises SettingsError when the device of the settings is not there."""
    check_device(settings)
    prepare_process(settings)


def check_device(settings: LearningSettings) -> None:
    """Raises SettingsError when the device of the settings is not there."""
    try:
        device_of(settings)
    except ValueError as error:
        raise SettingsError("learning.device", str(error), "set it to auto or cpu") from error


@dataclass(frozen=True)
class Learner:
    """`models.learner` with these settings. passes: told of each pass of pretraining once it is kept."""

    settings: LearningSettings
    passes: Callable[[Pretraining], None] = lambda passes: None

    def resume(self, store: Store, interactions: Interactions) -> LearnerState:
        """The stored state, on the device; a first one, for ids of the kinds of `interactions`, in an empty store."""
        leaves = store.state()
        if leaves is not None:
            return from_leaves(leaves, self.settings)
        users, items = ("string" if ids.dtype == object else "int" for ids in (interactions.users, interactions.items))
        return LearnerState.start(users, items)

    def learn(
        self, store: Store, state: LearnerState, interactions: Interactions, period: int, stage: Callable[[str], None]
    ) -> tuple[LearnerState, Outcome]:
        """Test, then train on a closed period; `state` is left as it was.

        Pretraining is checkpointed in the store after every pass and goes on from there when it was broken off.
        """

        def kept(passes: Pretraining) -> None:
            store.checkpoint(_PASSES, tree.flatten(passes))
            self.passes(passes)

        return learn(state, interactions, period, self.settings, Observer(stage, kept), self._broken_off(store))

    def release(
        self, store: Store, period: UpdatePeriod, interactions: Interactions, outcome: Outcome
    ) -> ModelVersion | None:
        """The next version of the store; None while there is nothing to serve."""
        _, parent = store.head() or (0, "")
        return release(
            store.next_version(), parent, period, interactions, outcome, self.settings, settings_digest(store.fixed)
        )

    def leaves(self, state: LearnerState) -> Mapping[str, tree.Leaf]:
        """The state as the store keeps it."""
        return to_leaves(state)

    def _broken_off(self, store: Store) -> Pretraining | None:
        leaves = store.restore_checkpoint(_PASSES)
        if leaves is None:
            return None
        device = device_of(self.settings)
        moved = {path: leaf.to(device) if isinstance(leaf, Tensor) else leaf for path, leaf in leaves.items()}
        return tree.restore(Pretraining, moved)

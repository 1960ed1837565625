"""What the learner asks of an update method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

from models.base_models.protocol import BaseModel
from models.parameters import Parameters
from models.samples import Samples
from models.training import Snapshot

State = TypeVar("State")


@runtime_checkable
class UpdateMethod(Protocol[State]):
    """Three calls a period at most; none changes its arguments, and equal arguments give equal bytes."""

    @property
    def method(self) -> str:
        """Name in settings, reports and manifests."""

    @property
    def window(self) -> int:
        """How many snapshots it looks at, at least 1."""

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> State:
        """State before anything was learned; called once, when pretraining is over.

        snapshot: the first one, on whose device the state lives; periods: what it was pretrained on, oldest first, the
        last of them once only. Annotate the class that is returned: a stored state is restored by it.
        """

    def train(
        self,
        state: State,
        base: BaseModel,
        window: Sequence[Parameters],
        targets: Sequence[Samples],
        seed: int,
        period: int,
    ) -> State:
        """Learn from the period that closed last, before the base model does.

        window: snapshots before this period, newest last, as many as there are and the longest method looks at;
        targets: as many periods, target i being the one after snapshot i, the last the one that closed. All snapshots
        have a row for every id known by now. seed, period: for the named stream of a method that draws.
        """

    def candidate(
        self, state: State, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[State, Parameters]:
        """What this method would serve next; called once the base model was trained on the closed period.

        window: its newest snapshot is the one just trained; outgoing: the snapshot that left the window for it, None
        while the window grows. The candidate has as many rows as the newest snapshot and may be that very snapshot.
        """

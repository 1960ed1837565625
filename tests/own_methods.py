"""Update methods as somebody from outside would write them, right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from models.base_models.protocol import BaseModel
from models.parameters import Parameters
from models.samples import Samples
from models.training import Snapshot


@dataclass(frozen=True)
class Count:
    """How many periods it was trained on."""

    periods: int


@dataclass(frozen=True)
class Older:
    """Serves a mixture of the last two snapshots."""

    share: float = 0.5
    method: str = "older"
    window: int = 2

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> Count:
        return Count(0)

    def train(
        self, state: Count, base: BaseModel, window: Sequence[Parameters], targets: Any, seed: int, period: int
    ) -> Count:
        return Count(state.periods + 1)

    def candidate(
        self, state: Count, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[Count, Parameters]:
        newest, older = window[-1], window[max(len(window) - 2, 0)]
        return state, {name: tensor.lerp(older[name], self.share) for name, tensor in newest.items()}


@dataclass(frozen=True)
class NamedAsOurs(Older):
    method: str = "iu"


@dataclass(frozen=True)
class OddlyNamed(Older):
    method: str = "My Method"


@dataclass(frozen=True)
class Unannotated(Older):
    def start(self, *_: Any):
        return Count(0)


@dataclass(frozen=True)
class NoCandidate:
    method: str = "half"
    window: ClassVar[int] = 1

    def start(self, *_: Any) -> Count:
        return Count(0)


class NoDataclass:
    method, window = "plain", 1

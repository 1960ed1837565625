"""Update methods that break one law each. Every one of them looks harmless in a replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.update_methods.iu import Iu, NoState


@dataclass(frozen=True)
class Hostile(Iu):
    method: str = "hostile"


@dataclass(frozen=True)
class Kept:
    """A state of one tensor."""

    value: Tensor


@dataclass(frozen=True)
class Remembering(Hostile):
    """A base for those with a state: the mean label of each period moves every user row a little."""

    def start(self, base: Any, snapshot: Any, periods: Any, seed: int) -> Kept:
        return Kept(torch.zeros(()))

    def train(self, state: Kept, base: Any, window: Any, targets: Any, seed: int, period: int) -> Kept:
        return Kept(state.value + targets[-1].labels.mean()) if len(targets[-1]) else state

    def candidate(self, state: Kept, base: Any, outgoing: Any, window: Any) -> tuple[Kept, Mapping[str, Tensor]]:
        return state, moved(window[-1], state.value)


def moved(parameters: Mapping[str, Tensor], by: Tensor | float) -> dict[str, Tensor]:
    return {**parameters, "user": parameters["user"] + 0.1 * by}


SEEN: dict[int, float] = {}


@dataclass(frozen=True)
class PeeksAtTheNextPeriod(Hostile):
    """Notes every period it meets; in a second run over the same stream it knows what comes."""

    def train(self, state: NoState, base: Any, window: Any, targets: Any, seed: int, period: int) -> NoState:
        SEEN[period] = float(targets[-1].labels.mean())
        SEEN[0] = period
        return state

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, moved(window[-1], SEEN.get(int(SEEN.get(0, 0)) + 1, 0.0))


@dataclass(frozen=True)
class ServesWithoutAState(Hostile):
    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> Any:
        return window[-1]


@dataclass(frozen=True)
class TrainsAndReturnsNothing(Hostile):
    def train(self, state: NoState, base: Any, window: Any, targets: Any, seed: int, period: int) -> Any:
        return None


@dataclass(frozen=True)
class WritesToTheWindow(Remembering):
    def train(self, state: Kept, base: Any, window: Any, targets: Any, seed: int, period: int) -> Kept:
        window[-1]["user"][1:].mul_(0.999)
        return state


@dataclass(frozen=True)
class WritesToTheTargets(Remembering):
    def train(self, state: Kept, base: Any, window: Any, targets: Any, seed: int, period: int) -> Kept:
        targets[-1].labels.round_().add_(0.0).neg_()
        return state


@dataclass(frozen=True)
class WritesToItsState(Remembering):
    def train(self, state: Kept, base: Any, window: Any, targets: Any, seed: int, period: int) -> Kept:
        state.value.add_(1.0)
        return state


@dataclass(frozen=True)
class DependsOnTheOrderOfNames(Hostile):
    """Takes whatever tensor comes first to be the user table."""

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        first = next(iter(window[-1]))
        return state, {**window[-1], first: 0.9 * window[-1][first]}


@dataclass(frozen=True)
class DependsOnTheHashSeed(Hostile):
    """Goes through a set of names: their order is another one in each process."""

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        names = list(set(window[-1]) | {f"name {n}" for n in range(64)})
        return state, moved(window[-1], 0.001 * names.index("user"))


@dataclass(frozen=True)
class DrawsWithoutASeed(Hostile):
    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, moved(window[-1], torch.rand(()))


MEMORY: dict[int, float] = {}


@dataclass(frozen=True)
class RemembersOutsideOfItsState(Hostile):
    """Begins afresh with every run, so that two runs in turn are equal."""

    def start(self, base: Any, snapshot: Any, periods: Any, seed: int) -> NoState:
        MEMORY.clear()
        return NoState()

    def train(self, state: NoState, base: Any, window: Any, targets: Any, seed: int, period: int) -> NoState:
        MEMORY[period] = float(targets[-1].labels.mean())
        return state

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, moved(window[-1], sum(MEMORY.values()))


@dataclass(frozen=True)
class HasAStateThatCannotBeStored(Remembering):
    def start(self, base: Any, snapshot: Any, periods: Any, seed: int) -> Kept:
        return Kept([0.0])  # type: ignore[arg-type]

    def train(self, state: Kept, base: Any, window: Any, targets: Any, seed: int, period: int) -> Kept:
        return state

    def candidate(self, state: Kept, base: Any, outgoing: Any, window: Any) -> tuple[Kept, Any]:
        return state, window[-1]


@dataclass(frozen=True)
class DoesNotSayWhatItsStateIs(Hostile):
    def start(self, base: Any, snapshot: Any, periods: Any, seed: int):  # type: ignore[no-untyped-def]
        return NoState()


@dataclass(frozen=True)
class LacksACall:
    method: str = "hostile"
    window: int = 1


@dataclass
class CanBeChanged:
    method: str = "hostile"
    window: int = 1


@dataclass(frozen=True)
class HasNoNameOfItsOwn(Iu):
    method: str = "auto"


@dataclass(frozen=True)
class HasNoWindow(Hostile):
    window: int = 0


@dataclass(frozen=True)
class TakesTooFewArguments(Hostile):
    def train(self, state: NoState, window: Any) -> NoState:
        return state


@dataclass(frozen=True)
class NamesAStateThatIsNowhere(Hostile):
    def start(self, base: Any, snapshot: Any, periods: Any, seed: int) -> Nowhere:  # noqa: F821
        return NoState()


@dataclass(frozen=True)
class HasASettingThatIsNoValue(Hostile):
    rate: Any = field(default_factory=lambda: torch.tensor(0.1))


@dataclass(frozen=True)
class ForgetsNewIds(Remembering):
    """Serves tables as long as they were when it began."""

    def candidate(self, state: Kept, base: Any, outgoing: Any, window: Any) -> tuple[Kept, Any]:
        return state, {**window[-1], "user": window[-1]["user"][:12]}


@dataclass(frozen=True)
class ServesDoubles(Hostile):
    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, moved(window[-1], torch.zeros((), dtype=torch.float64).expand(8))


@dataclass(frozen=True)
class LeavesATensorOut(Hostile):
    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, {name: tensor for name, tensor in window[-1].items() if name != "b3"}


@dataclass(frozen=True)
class ServesNaN(Hostile):
    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, moved(window[-1], float("nan"))


@dataclass(frozen=True)
class ServesNumbersThatOverflow(Hostile):
    """Each is finite; what a base model makes of them is not."""

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, {name: 1e30 * tensor for name, tensor in window[-1].items()}


class Wavering(dict[str, Tensor]):
    """Shows one thing to whoever goes through it and another to whoever asks by name."""

    def __getitem__(self, name: str) -> Tensor:
        return 0.5 * super().__getitem__(name)


@dataclass(frozen=True)
class ServesAMappingOfItsOwn(Hostile):
    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, Wavering(window[-1])


@dataclass(frozen=True)
class DividesByThePositives(Remembering):
    """Well on every usual period; a period without a positive makes it NaN for ever."""

    def train(self, state: Kept, base: Any, window: Any, targets: Any, seed: int, period: int) -> Kept:
        labels = targets[-1].labels
        return Kept(state.value + (1 - labels).sum() / labels.sum())


@dataclass(frozen=True)
class CannotLearnFromNothing(Remembering):
    def train(self, state: Kept, base: Any, window: Any, targets: Any, seed: int, period: int) -> Kept:
        return Kept(state.value + targets[-1].labels.max())


@dataclass(frozen=True)
class LooksAtTheWholeWindow(Hostile):
    """Averages whatever snapshots it is given: as many as the longest method of the list wants."""

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, {**window[-1], "user": torch.stack([old["user"] for old in window]).mean(0)}


@dataclass(frozen=True)
class KnowsOneBaseModel(Hostile):
    """Takes it for granted that there is an MLP."""

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        return state, {**window[-1], "b3": 0.9 * window[-1]["b3"]}


SERVED: list[Any] = []


@dataclass(frozen=True)
class ChangesWhatItHasPublished(Hostile):
    """Keeps hold of its candidate and goes on with it in place."""

    def candidate(self, state: NoState, base: Any, outgoing: Any, window: Any) -> tuple[NoState, Any]:
        if SERVED:
            SERVED.pop()["user"].mul_(0.9)
        SERVED.append(moved(window[-1], 0.5))
        return state, SERVED[-1]

"""What is on trial, a base model or an update method, and what it does in a run of the learner, as digests.

Laws compare runs. A run is told period by period, each tensor and number of the learner's state and of what serves by
the digest of its bytes, so that a difference has a period and a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from models import tree
from models.base_models.embedding_mlp import EmbeddingMlp
from models.base_models.protocol import BaseModel
from models.interactions import Interactions
from models.laws.streams import PRETRAIN, stream
from models.learner import Outcome, learn
from models.learner_state import LearnerState, to_leaves
from models.learning import LearningSettings
from models.parameters import CATEGORY
from models.update_methods.iu import Iu
from models.update_methods.protocol import UpdateMethod

Leaves = Mapping[str, tree.Leaf]

LONGEST = 8
"""Snapshots of the longest window that a run outlasts; a method with a longer one is tried while its window grows."""


@dataclass(frozen=True)
class Told:
    """A period that has been learned, by digests: nothing that happens to its tensors later can show in these.

    state: of each leaf of the learner's state after it, by path; served: of each tensor that serves from then on;
    scores: as text, since NaN differs from itself.
    """

    state: Mapping[str, str]
    served: Mapping[str, str]
    scores: str

    @staticmethod
    def of(state: LearnerState, outcome: Outcome) -> Told:
        """The period that has just been learned."""
        return Told(digests(to_leaves(state)), digests(outcome.parameters or {}), repr(dict(outcome.scores)))


class Step(NamedTuple):
    """One period of a run."""

    state: LearnerState
    outcome: Outcome
    told: Told


def copied(leaves: Leaves) -> Leaves:
    """The simplest way to keep leaves: copies in memory."""
    return {path: deepcopy(leaf) for path, leaf in leaves.items()}


@dataclass(frozen=True)
class Trial:
    """A base model and an update method, one of them on trial, the other known to be right.

    kept: how leaves of a state are stored and read back; whoever has a store gives its way.
    """

    base: BaseModel = field(default_factory=EmbeddingMlp)
    method: UpdateMethod[Any] = field(default_factory=Iu)
    kept: Callable[[Leaves], Leaves] = copied

    @property
    def settings(self) -> LearningSettings:
        """Settings that learn a small stream in little time."""
        return self.settings_with(self.method)

    def settings_with(self, *methods: UpdateMethod[Any]) -> LearningSettings:
        """The same with these methods, of which the first serves."""
        chosen: dict[str, Any] = {"base_model": self.base, "methods": methods, "serve": methods[0].method}
        return LearningSettings(
            seed=3, pretrain=PRETRAIN, passes=1, initialisations=1, batch=16, device="cpu", **chosen
        )

    @property
    def stream(self) -> list[Interactions]:
        """Long enough for a window to fill and to slide twice."""
        return self.stream_of("laws")

    def stream_of(self, name: str) -> list[Interactions]:
        """Another one as long. Items have categories if the base model looks them up."""
        return stream(PRETRAIN + min(self.method.window, LONGEST) + 2, name, self.has_categories)

    @property
    def has_categories(self) -> bool:
        """Whether the base model has a table of them."""
        return CATEGORY in self.base.tables.values()

    @cached_property
    def steps(self) -> list[Step]:
        """The stream, learned from its first period to its last without a stop."""
        return list(run(self.stream, self.settings))

    @property
    def told(self) -> list[Told]:
        """The same by digests."""
        return [step.told for step in self.steps]


def run(
    periods: Sequence[Interactions], settings: LearningSettings, state: LearnerState | None = None, first: int = 1
) -> Iterator[Step]:
    """Learn `periods`, the first of which has number `first`, going on from `state`."""
    state = state or LearnerState.start()
    for number, interactions in enumerate(periods, first):
        state, outcome = learn(state, interactions, number, settings)
        yield Step(state, outcome, Told.of(state, outcome))


def digests(leaves: Leaves) -> dict[str, str]:
    """Of each leaf, by path; the order of a mapping's names is no part of it."""
    nodes = {path.rpartition(".")[0] for path in leaves}
    plain = {path: _sorted_names(leaf) if path in nodes else leaf for path, leaf in leaves.items()}
    return {path: _digest(leaf) for path, leaf in sorted(plain.items())}


def digest(value: Any) -> str:
    """Of anything a base model or method is given: tensors, numbers, mappings, sequences, dataclasses of these."""
    return _digest("\n".join(f"{path} {one}" for path, one in digests(dict(_leaves("", value))).items()))


def difference(expected: Sequence[Told], found: Sequence[Told]) -> str:
    """The first period that differs, and in what; "" when none does."""
    for number, (left, right) in enumerate(zip(expected, found, strict=True), 1):
        names = [
            *(f"served {name}" for name in _differing(left.served, right.served)),
            *(f"state {name}" for name in _differing(left.state, right.state)),
            *(["scores"] if left.scores != right.scores else []),
        ]
        if names:
            return f"period {number}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
    return ""


def _differing(left: Mapping[str, str], right: Mapping[str, str]) -> list[str]:
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, tree.Leaf]]:
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _leaves(f"{path}.{field.name}", getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, element in value.items():
            yield from _leaves(f"{path}.{key}", element)
    elif isinstance(value, list | tuple):
        yield path, len(value)
        for index, element in enumerate(value):
            yield from _leaves(f"{path}.{index}", element)
    else:
        yield path, value


def _digest(leaf: Any) -> str:
    sha = hashlib.sha256()
    if isinstance(leaf, Tensor | np.ndarray):
        array = leaf.detach().cpu().numpy() if isinstance(leaf, Tensor) else leaf
        sha.update(f"{array.dtype} {array.shape}".encode())
        sha.update(array.tobytes())
    else:
        sha.update(repr(leaf).encode())
    return sha.hexdigest()


def _sorted_names(leaf: Any) -> Any:
    """Of a node of a tree, which says the names of a mapping or of a class."""
    return ",".join(sorted(leaf.split(","))) if isinstance(leaf, str) else leaf

"""What turns rows of tables into logits, and what a base model has to bring to be served by numpy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stream_app.versions.fitness import taken
from stream_app.versions.tensors import Array, TensorSpec

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
_ONE = np.float32(1)


@dataclass(frozen=True, eq=False)
class Lookups:
    """The rows that n pairs look up, 0 for an id that the version does not know.

    users: int64 [n], or [1] for one user of all pairs; items: int64 [n]; history: item rows of all histories in turn,
    most recent first; offsets: int64, one more than users, where each user's history begins and the last one's ends.
    """

    users: Rows
    items: Rows
    history: Rows
    offsets: Rows

    def pairs(self, begin: int, end: int) -> Lookups:
        """The pairs from `begin` to `end` alone; every pair has a user of its own."""
        low, high = self.offsets[begin], self.offsets[end]
        offsets = self.offsets[begin : end + 1] - low
        return Lookups(self.users[begin:end], self.items[begin:end], self.history[low:high], offsets)


class ForUser(NamedTuple):
    """What scores items for one user, whose own share of the arithmetic is done: in blocks of at most `BLOCK` items.

    order: of item rows [n], or of the rows of a slice, the float32 [n] by which items are ordered, best = largest.
    probabilities: what they mean as probabilities.
    """

    order: Callable[[Rows | slice], Floats]
    probabilities: Callable[[Floats], Floats]


BLOCK = 8192
"""Items at a time: their hidden layers stay in the processor's cache (1 M items: 34 ms, with 1,024 or 65,536 twice
as long)."""


class Network(ABC):
    """The arithmetic of one version: immutable, for any number of threads."""

    @abstractmethod
    def logits(self, lookups: Lookups) -> Floats:
        """float32 [n]."""

    def probabilities(self, lookups: Lookups) -> Floats:
        """float32 [n]."""
        return sigmoid(self.logits(lookups))

    def for_user(self, user: int, history: Rows) -> ForUser:
        """The user's row, and the rows of the history, most recent first. Items are ordered by `probabilities`."""
        users, offsets = np.array([user]), np.array([0, len(history)])

        def order(items: Rows | slice) -> Floats:
            rows = np.arange(items.start, items.stop) if isinstance(items, slice) else items
            return self.probabilities(Lookups(users, rows, history, offsets))

        return ForUser(order, lambda probabilities: probabilities)

    def given(self, derived: Mapping[str, Array]) -> Self:
        """This network with what `stream_app.serving.derived` has made of its version, as far as it uses that."""
        return self


class NumpyNetwork(Network):
    """One that numpy alone computes; made from the tensors of a version that has passed `check`."""

    @abstractmethod
    def __init__(self, tensors: Mapping[str, Array], derived: Mapping[str, Array] | None = None) -> None: ...

    @staticmethod
    @abstractmethod
    def check(specs: dict[str, TensorSpec], rows: Mapping[str, int]) -> None:
        """Take the model's own tensors out of `specs`.

        rows: of each kind of id ("users", "items", maybe "categories"), the cold row included. Raises ValueError when a
        tensor has another type or shape, KeyError when it is missing.
        """

    @staticmethod
    def derived(tensors: Mapping[str, Array]) -> dict[str, Array]:
        """What is worth computing once, at load, under names of its own; a network works without it, too."""
        return {}


def taken_table(specs: dict[str, TensorSpec], table: str, rows: int) -> int:
    """Take the parameters of a table with so many rows out of `specs`; returns their width. Raises as `taken`."""
    shape = taken(specs, f"parameters.{table}", "F32", 2).shape
    if shape[0] != rows:
        raise ValueError(f"table {table} has {shape[0]} rows, its vocabulary needs {rows}")
    return shape[1]


def same_width(widths: set[int]) -> int:
    """The one width in `widths`. Raises ValueError when there are several, or it is 0."""
    if len(widths) != 1 or 0 in widths:
        raise ValueError(f"tables have widths {sorted(widths)}, expected one and the same")
    return next(iter(widths))


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)) in float32; a logit below -88 gives 0 (its exponential overflows, as it should)."""
    found = np.negative(logits)
    with np.errstate(over="ignore"):
        np.exp(found, out=found)
    found += _ONE
    return np.divide(_ONE, found, out=found)

"""Negatives: items that a user has not been positive on, drawn for each positive, and the pairs known so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lookup import find

_REDRAWS = 32
"""After that many rounds only rows are open whose user knows nearly every item: their free items are listed instead."""


@dataclass(frozen=True, eq=False)
class Taken:
    """Which items a user has been positive on by a moment.

    known: int64 sorted pairs of earlier periods; keys: int64 sorted distinct pairs that are positive in this period;
    first: int64 [len(keys)], the event time of the first positive of each in this period.
    """

    known: NDArray[np.int64]
    keys: NDArray[np.int64]
    first: NDArray[np.int64]

    @staticmethod
    def in_period(
        known: NDArray[np.int64], users: NDArray[np.int32], items: NDArray[np.int32], times: NDArray[np.int64]
    ) -> Taken:
        """From the positives of a period, in order of event time, and the pairs known before it."""
        keys, first = np.unique(pair(users, items), return_index=True)
        return Taken(known, keys, times[first])

    def by(self, users: NDArray[Any], items: NDArray[Any], times: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [n]: was the user positive on the item in an earlier period, or in this one at or before the time?"""
        keys = pair(users, items)
        at, there = find(self.keys, keys)
        there[there] = self.first[at[there]] <= times[there]
        return there | find(self.known, keys)[1]

    def pairs(self) -> NDArray[np.int64]:
        """All pairs known after this period, sorted and distinct."""
        at, known = find(self.known, self.keys)
        return np.insert(self.known, at[~known], self.keys[~known])

    def free(self, user: int, time: int, items: int) -> NDArray[np.int64]:
        """Rows among 1..items that the user has not been positive on by that time, ascending."""
        candidates = np.arange(1, items + 1)
        return candidates[~self.by(np.full(items, user), candidates, np.full(items, time))]


def pair(users: NDArray[Any], items: NDArray[Any]) -> NDArray[np.int64]:
    """One int64 key for each (user row, item row)."""
    return users.astype(np.int64) << 32 | items.astype(np.int64)


def draw_negatives(
    taken: Taken,
    users: NDArray[np.int32],
    times: NDArray[np.int64],
    per_row: int,
    items: int,
    draw: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """`per_row` negatives for each of n rows: (index into the rows [m] ascending, item row in 1..items [m]).

    Uniform over the items that are not taken by the row's user at the row's time. A user who has everything gets none.
    """
    row = np.repeat(np.arange(len(users)), per_row)
    chosen = np.zeros(len(row), np.int32)
    still = np.arange(len(row))
    for _ in range(_REDRAWS):
        if not len(still):
            break
        candidates = draw.integers(1, items + 1, size=len(still), dtype=np.int32)
        refused = taken.by(users[row[still]], candidates, times[row[still]])
        chosen[still[~refused]] = candidates[~refused]
        still = still[refused]
    for one in still:
        free = taken.free(int(users[row[one]]), int(times[row[one]]), items)
        chosen[one] = draw.choice(free) if len(free) else 0
    found = chosen > 0
    return row[found], chosen[found]

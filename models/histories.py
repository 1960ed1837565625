"""Histories: for each interaction the positive items of its user from strictly earlier in event time.

A period's users are laid out as one sequence each: what the state carries, then what this period adds, in order of
event time. A history is then a stretch of that sequence, and its newest end is what the next period is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lookup import stable_order

LENGTH = 30
"""Items of a history at most (algorithms: "the user's last 30 positive items")."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """Positives of a period's A users, user after user, oldest first: the carried ones and those of the period.

    users: int [A] ascending; starts: int64 [A + 1], user a owns items[starts[a]:starts[a + 1]]; items, times: [P].
    first, end: int64 [n], the history of the period's row i is items[first[i]:end[i]], read backwards.
    """

    users: NDArray[Any]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    first: NDArray[np.int64]
    end: NDArray[np.int64]

    def flat(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Histories of the period's `rows` in turn, most recent first, and their offsets int64 [len(rows) + 1]."""
        lengths = (self.end - self.first)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        # Entry j of the output is j - offset places before the end of its sample's stretch.
        at = np.repeat(self.end[rows] - 1 + offsets[:-1], lengths)
        at -= np.arange(len(at))
        return self.items[at], offsets

    def newest(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The last `LENGTH` items of every user and their times, [A, LENGTH], most recent first, padded with 0."""
        at = self.starts[1:, None] - 1 - np.arange(LENGTH)
        outside = at < self.starts[:-1, None]
        at[outside] = len(self.items)
        return np.append(self.items, np.int32(0))[at], np.append(self.times, np.int64(0))[at]


@dataclass(frozen=True, eq=False)
class UserHistories:
    """The newest positive items of U users, at most `LENGTH` of each.

    rows: int32 [R], item rows, user after user, most recent first; offsets: int64 [U + 1], those of user row u (1 for
    the first) are rows[offsets[u - 1]:offsets[u]]. until: the largest event time among them all (the lowest int64 where
    there are none); newest: uint8 [U], how many of a user's rows, the first ones, are of that very time: whoever has
    all positives since `until` puts these in their place.
    """

    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]
    newest: NDArray[np.uint8]
    until: int

    @staticmethod
    def of(items: NDArray[np.int32], times: NDArray[np.int64]) -> UserHistories:
        """items, times: [U + 1, LENGTH], row 0 nobody's, most recent first, item 0 = none."""
        items, times = items[1:], times[1:]
        kept = items != 0
        until = int(times[kept].max()) if kept.any() else np.iinfo(np.int64).min
        offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        newest = ((times == until) & kept).sum(axis=1).astype(np.uint8)
        return UserHistories(items[kept], offsets, newest, int(until))


def sequences(
    carried_items: NDArray[np.int32],
    carried_times: NDArray[np.int64],
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    times: NDArray[np.int64],
    positive: NDArray[np.bool_],
) -> Sequences:
    """Sequences of a period's rows (users, items, times, positive: [n] in canonical order).

    carried_items, carried_times: [table rows, LENGTH], most recent first, item 0 = none. Rows with equal times keep
    their order: carried ones first, then canonical position. A late row takes its place by its event time.
    """
    active = np.flatnonzero(np.bincount(users))
    older = carried_items[active][:, ::-1]
    kept = older != 0
    carried = int(kept.sum())
    all_users = np.concatenate([np.repeat(active, kept.sum(axis=1)), users])
    all_times = np.concatenate([carried_times[active][:, ::-1][kept], times])
    order = _by_user_and_time(all_users, all_times)
    user, time = all_users[order], all_times[order]
    positives = np.concatenate([np.ones(carried, bool), positive])[order]
    before = np.cumsum(positives) - positives

    new_user = np.append(True, user[1:] != user[:-1])
    new_time = new_user | np.append(True, time[1:] != time[:-1])
    starts = before[new_user]
    # Strictly earlier: everything with the same time stands behind the first of that time.
    end = before[new_time][np.cumsum(new_time) - 1]
    first = np.maximum(starts[np.cumsum(new_user) - 1], end - LENGTH)
    here = order >= carried
    row = order[here] - carried
    back = np.empty((2, len(users)), np.int64)
    back[0, row], back[1, row] = first[here], end[here]
    chosen = order[positives]
    all_items = np.concatenate([older[kept], items])
    return Sequences(
        active, np.append(starts, len(chosen)), all_items[chosen], all_times[chosen], first=back[0], end=back[1]
    )


def _by_user_and_time(users: NDArray[np.int32], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stable order by (user, time) of rows that are in order of time for nearly every user."""
    order = stable_order(users)
    user, time = users[order], times[order]
    backwards = (user[1:] == user[:-1]) & (time[1:] < time[:-1])
    if backwards.any():
        # Only users with a late row: a full sort by time would be the dearest step of sampling.
        again = np.flatnonzero(np.isin(user, user[1:][backwards]))
        order[again] = order[again][np.lexsort((time[again], user[again]))]
    return order

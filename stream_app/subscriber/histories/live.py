"""The newest positives of each user since a time, and how they continue the history that a version carries.

One thread writes, any number read: what belongs to a user is a tuple that is replaced, never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stream_app.serving.histories import OwnHistory
from stream_app.subscriber.histories.positives import Positives
from stream_app.versions.columns import HISTORY

Entries = tuple[tuple[int, Any], ...]
"""(event time, item) of one user, oldest first; of one time in the order of their ids, as the learner has them."""

_FREED = 0.1
"""Share of the rows that goes at once when there are too many: looking for what to forget costs a look at all users."""


class LiveHistories:
    """Rows with event times of at least `since`, at most `HISTORY` of a user. rows: how many there are; forgotten:
    users that had to go because there were more than `limit`."""

    def __init__(self, since: int, limit: int) -> None:
        self.since, self.rows, self.forgotten = since, 0, 0
        self._limit = limit
        self._of: dict[Any, Entries] = {}

    def __len__(self) -> int:
        """Users."""
        return len(self._of)

    def of(self, user: Any) -> Entries:
        """Those of one user."""
        return self._of.get(user, ())

    def add(self, positives: Positives) -> None:
        """In any order of event time."""
        new = positives.times >= self.since
        columns = (positives.users[new], positives.items[new], positives.times[new])
        for user, item, time in zip(*(column.tolist() for column in columns), strict=True):
            own = self._of.get(user, ())
            place = len(own)
            while place and own[place - 1] > (time, item):  # nearly always it is the newest
                place -= 1
            self._put(user, own, (*own[:place], (time, item), *own[place:])[-HISTORY:])
        if self.rows > self._limit:
            self._forget()

    def drop_before(self, since: int) -> None:
        """Only rows from this time on are held from now on."""
        self.since = since
        for user, own in list(self._of.items()):
            self._put(user, own, tuple(entry for entry in own if entry[0] >= since))

    def _put(self, user: Any, before: Entries, after: Entries) -> None:
        self.rows += len(after) - len(before)
        if after:
            self._of[user] = after
        else:
            del self._of[user]

    def _forget(self) -> None:
        """The users longest without a row go."""
        for user in sorted(self._of, key=lambda user: self._of[user][-1][0]):
            if self.rows <= self._limit * (1 - _FREED):
                break
            self._put(user, self._of[user], ())
            self.forgotten += 1


def continued(own: OwnHistory, until: int, live: Sequence[tuple[int, Any]], before: int | None = None) -> list[Any]:
    """The user's history: ids, most recent first, at most `HISTORY`.

    own: what the version says, until the time `until`; live: rows since then (or some time before), oldest first.
    before: only what is strictly earlier, in microseconds; `until` at the least.
    """
    known = [entry for entry in live if before is None or entry[0] < before]
    since = [item for time, item in reversed(known) if time > until]
    last = [item for time, item in reversed(known) if time == until]
    if before is not None and before <= until:
        last = []
    elif len(last) < own.newest:  # not read up to there yet
        last = own.items[: own.newest]
    return [*since, *last, *own.items[own.newest :]][:HISTORY]

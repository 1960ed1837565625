"""What a follower of histories says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class HistoryHealth:
    """One look at it; `dataclasses.asdict` makes plain values of it.

    state: "waiting" until the segments topic is read. version: the one whose histories are continued, 0 before the
    first; until: the event time (microseconds) from which on it is continued, None before. users, rows: held, those
    that the version before needs among them. forgotten: users that had to go for others so far
    (`HistorySettings.max_rows`). lag: records of the topic that are not taken yet, as of the last poll, None when that
    is not known. missing: why rows since `until` may be missing, "" if none are. trouble: why nothing can be read at
    the moment, "" if all is well.
    """

    state: Literal["waiting", "following"]
    version: int
    until: int | None
    users: int
    rows: int
    forgotten: int
    lag: int | None
    missing: str
    trouble: str

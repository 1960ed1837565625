"""Update periods: which rows are trained on together, and when that is decided.

Rows are in the order (assigned time, event time, user, item, label); a period is a run in that order.

1. Only final rows are closed (assigned strictly before the watermark of the whole stream), so that the rows of a period
   do not depend on the order in which they arrived.
2. A closed period never changes: later rows are assigned its `end` or a later time.
3. Numbers begin with 1. Equal-count periods are numbered one by one; event-time periods by window, the first being the
   window of the earliest row. A window without rows is nothing to train on: it closes without a record, and its number
   is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.events.record import MICROSECONDS
from stream_app.events.segment import END
from stream_app.events.watermark import Late


class PeriodState(StrEnum):
    """How far a period has come."""

    OPEN = "open"
    CLOSED = "closed"
    TRAINED = "trained"
    PUBLISHED = "published"


@dataclass(frozen=True)
class UpdatePeriod:
    """A closed period: of the rows assigned to [start, end) in order, those from number `skip` on, `rows` of them.

    start, end: microseconds. Equal count: the times of its first row and 1 after that of its last; rows of the same
    time may then belong to the period before or after. Event time: the window.
    """

    number: int
    start: int
    end: int
    rows: int
    skip: int = 0
    """Rows assigned to `start` that belong to earlier periods."""
    used: int = 0
    """Rows assigned to `end` - 1 that belong to this or to earlier periods."""


class Periods(Protocol):
    """What ingestion needs of a kind of periods."""

    @property
    def lateness_us(self) -> int:
        """Microseconds that a row may be behind its partition without being late."""
        ...

    @property
    def late(self) -> Late:
        """What becomes of late rows."""
        ...

    @property
    def least(self) -> int:
        """No period closes with fewer final rows than this."""
        ...

    def bound(self, watermark: int) -> int:
        """The rows assigned before this time may be closed once the stream has come to `watermark`."""
        ...

    def close(self, times: NDArray[np.int64], last: UpdatePeriod | None) -> list[UpdatePeriod]:
        """The periods that `times` fill, from the front.

        times: assigned times of all final rows behind the period `last`, sorted, int64 [n].
        """
        ...


@dataclass(frozen=True, kw_only=True)
class _Timing:
    lateness: float = 60.0
    """Seconds that a row may come after a row of the same partition with a later event time and still not be late."""
    late: Late = "next-period"
    """A late row goes to the period that is open when it comes, to the dead letters or nowhere; it is counted."""

    def __post_init__(self) -> None:
        if not 0 <= self.lateness < 1e12:
            raise ValueError(f"lateness: must be 0 or more seconds, is {self.lateness}")

    @property
    def lateness_us(self) -> int:
        """Microseconds."""
        return round(self.lateness * MICROSECONDS)


@dataclass(frozen=True, kw_only=True)
class EqualCount(_Timing):
    """Periods of `count` rows each; a remainder at the end of the stream stays open."""

    by: Literal["count"] = "count"
    count: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 1:
            raise ValueError(f"count: a period needs at least 1 row, is {self.count}")

    @property
    def least(self) -> int:
        """A whole period."""
        return self.count

    def bound(self, watermark: int) -> int:
        """All that is final."""
        return watermark

    def close(self, times: NDArray[np.int64], last: UpdatePeriod | None) -> list[UpdatePeriod]:
        """As many periods of `count` rows as `times` fill."""
        cuts = np.arange(0, len(times) + 1, self.count)
        firsts, ends = times[cuts[:-1]], times[cuts[1:] - 1] + 1
        skips = cuts[:-1] - np.searchsorted(times, firsts)
        used = cuts[1:] - np.searchsorted(times, ends - 1)
        if last is not None and len(times):  # rows of the time at which the last period was cut
            skips[firsts == last.end - 1] += last.used
            used[ends == last.end] += last.used
        number = last.number if last is not None else 0
        columns = zip(firsts.tolist(), ends.tolist(), skips.tolist(), used.tolist(), strict=True)
        return [
            UpdatePeriod(number + i, start, end, self.count, skip, taken)
            for i, (start, end, skip, taken) in enumerate(columns, 1)
        ]


@dataclass(frozen=True, kw_only=True)
class EventTime(_Timing):
    """Periods of `length` seconds of event time each, counted from the epoch: [0, length), [length, 2 * length) ..."""

    by: Literal["time"] = "time"
    length: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 / MICROSECONDS <= self.length < 1e12:
            raise ValueError(f"length: a period needs more than 0 seconds, is {self.length}")

    @property
    def length_us(self) -> int:
        """Microseconds."""
        return round(self.length * MICROSECONDS)

    @property
    def least(self) -> int:
        """Any row closes its window once that is over."""
        return 1

    def bound(self, watermark: int) -> int:
        """The start of the window that the stream is in; at the end of the stream, that end."""
        return watermark if watermark == END else watermark - watermark % self.length_us

    def close(self, times: NDArray[np.int64], last: UpdatePeriod | None) -> list[UpdatePeriod]:
        """The windows that hold any of `times`."""
        windows = times // self.length_us
        values, firsts, counts = np.unique(windows, return_index=True, return_counts=True)
        if not len(values):
            return []
        first = int(values[0]) if last is None else last.start // self.length_us - last.number + 1
        closed = []
        for window, begin, rows in zip(values.tolist(), firsts.tolist(), counts.tolist(), strict=True):
            end = (window + 1) * self.length_us
            used = begin + rows - int(np.searchsorted(times, end - 1))
            closed.append(UpdatePeriod(window - first + 1, window * self.length_us, end, rows, used=used))
        return closed


AnyPeriods = EqualCount | EventTime
"""The kinds of periods; settings tell them apart by `by`."""

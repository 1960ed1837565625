"""The rows of no closed period, in memory, by nothing but their assigned times (8 bytes a row).

A period is a run in the order of assigned times, so that these are enough to know where it begins and ends. Rows are
sorted only when enough of them are final: rows not yet final wait in parts ordered by their earliest time, and a part
is looked at only when the watermark has passed that.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from stream_app.events.periods import Periods, UpdatePeriod

_SMALL = 4096  # rows: smaller parts are joined first, or a slow stream would cost 100 bytes and one look for each row

_PARTS = 1024  # so that a long period of a slow stream is not kept as a million small arrays


class OpenRows:
    """Assigned times of open rows; `closed_by` takes out those of the periods it closes."""

    def __init__(self) -> None:
        self._young: list[NDArray[np.int64]] = []
        self._young_rows = 0
        self._young_low = 0
        self._waiting: list[tuple[int, int, NDArray[np.int64]]] = []
        self._pushed = 0
        self._final: list[NDArray[np.int64]] = []
        self._final_rows = 0
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, assigned: NDArray[np.int64]) -> None:
        """Rows assigned to these times, in any order."""
        if not len(assigned):
            return
        low = int(assigned.min())
        self._young_low = min(low, self._young_low) if self._young else low
        self._young.append(assigned)
        self._young_rows += len(assigned)
        self._rows += len(assigned)
        if self._young_rows >= _SMALL:
            self._push_young()

    def closed_by(self, periods: Periods, watermark: int | None, last: UpdatePeriod | None) -> list[UpdatePeriod]:
        """Take out the periods behind `last` that close now that the whole stream has come to `watermark`."""
        if watermark is None or self._rows < periods.least:
            return []
        self._settle(periods.bound(watermark))
        if self._final_rows < periods.least:
            return []
        times = np.sort(np.concatenate(self._final))
        closed = periods.close(times, last)
        taken = sum(period.rows for period in closed)
        self._final, self._final_rows = [times[taken:].copy()], len(times) - taken
        self._rows -= taken
        return closed

    def _settle(self, bound: int) -> None:
        """Move the rows assigned before `bound` from the waiting ones to the final ones."""
        if self._young and self._young_low < bound:
            self._push_young()
        while self._waiting and self._waiting[0][0] < bound:
            _, _, part = heapq.heappop(self._waiting)
            final = part[part < bound]
            self._final.append(final)
            self._final_rows += len(final)
            if len(final) < len(part):
                self._push(part[part >= bound])
        if len(self._final) > _PARTS:
            self._final = [np.concatenate(self._final)]

    def _push_young(self) -> None:
        self._push(np.concatenate(self._young))
        self._young, self._young_rows = [], 0

    def _push(self, part: NDArray[np.int64]) -> None:
        self._pushed += 1  # no two parts compare equal, or the heap would compare arrays
        heapq.heappush(self._waiting, (int(part.min()), self._pushed, part))

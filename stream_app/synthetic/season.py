"""When something happens: evenings are busier than mornings, weekends busier than working days."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

START = 1_767_225_600
"""First second of 2026, UTC: a Thursday, where every stream begins."""

_BUSIEST_HOUR = 20
_DAILY = 0.8
"""The busiest hour has (1 + 0.8) / (1 - 0.8) = 9 times the rows of the quietest."""
_WEEKEND = 1.5
"""Times as many rows on Saturdays and Sundays."""


class Season:
    """Event times over `days` from START on, in `steps` of equal length."""

    def __init__(self, days: float, steps: int) -> None:
        self._end = 24.0 * days
        # From hour to hour, at each of which the rate stands still; the last one may be a part of an hour.
        self._hours = np.append(np.arange(0.0, self._end), self._end)
        expected = np.append(0.0, np.cumsum(np.diff(self._hours) * _rate(self._hours[:-1])))
        self._passed = expected / expected[-1]
        self._borders = np.interp(np.linspace(0.0, self._end, steps + 1), self._hours, self._passed)

    @property
    def shares(self) -> NDArray[np.float64]:
        """The part of all rows that falls into each step."""
        return np.diff(self._borders)

    def times(self, draw: np.random.Generator, step: int, rows: int) -> NDArray[np.int64]:
        """Sorted event times [rows] in a step: whole seconds, which every time unit can hold, in microseconds."""
        low, high = self._borders[step : step + 2]
        hours = np.interp(np.sort(draw.uniform(low, high, rows)), self._passed, self._hours)
        seconds = np.floor(3600 * np.minimum(hours, np.nextafter(self._end, 0.0)))
        return np.asarray((START + seconds) * 1_000_000, np.int64)


def _rate(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows an hour, relative; hours: since START."""
    daily = 1 + _DAILY * np.cos(2 * np.pi * (hours - _BUSIEST_HOUR) / 24)
    weekday = (hours // 24 + 3) % 7  # 0: Monday
    return daily * np.where(weekday >= 5, _WEEKEND, 1.0)

"""Event time: numbers in the unit of the settings to int64 microseconds since 1970, and back.

Rules: an integer is exact (nanoseconds are cut down to the microsecond); a float is rounded to the nearest
microsecond; a row's time never depends on its neighbours; nothing overflows, since readers refuse what is beyond
`largest(unit)` first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LIMIT = 2**62
"""Largest event time either side of 1970, in microseconds: sums with a lateness stay far from overflow."""

PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds in one unit; nanoseconds, the other way round, are handled beside it."""


def largest(unit: str) -> int:
    """The largest number in `unit` that is a valid event time (its negative is the smallest)."""
    return LIMIT // PER_UNIT[unit] if unit in PER_UNIT else (2**63 - 1) // 1000 * 1000


def microseconds(times: Sequence[int | float], unit: str) -> NDArray[np.int64]:
    """Times in `unit`, all within `largest(unit)`, as microseconds."""
    kinds = set(map(type, times))
    if kinds <= {int}:
        return whole(np.array(times, dtype=np.int64), unit)
    if kinds == {float}:
        return fractional(np.array(times, dtype=np.float64), unit)
    return np.concatenate([microseconds([time], unit) for time in times])


def whole(times: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """Integers in `unit`, all within `largest(unit)`, as microseconds."""
    return times * PER_UNIT[unit] if unit in PER_UNIT else times // 1000


def fractional(times: NDArray[np.float64], unit: str) -> NDArray[np.int64]:
    """Floats in `unit`, all within `largest(unit)`, as microseconds."""
    scaled = times * PER_UNIT[unit] if unit in PER_UNIT else times / 1000
    return np.rint(scaled).astype(np.int64)


def in_unit(time: int, unit: str) -> int | float:
    """Microseconds as a number in `unit`: an integer where that is exact, else the nearest float."""
    if unit not in PER_UNIT:
        return time * 1000
    per_unit = PER_UNIT[unit]
    return time // per_unit if time % per_unit == 0 else time / per_unit

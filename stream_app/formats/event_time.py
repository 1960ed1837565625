"""Event time: what records say, in the unit of the settings, to int64 microseconds since 1970, and back.

Rules: an integer is exact (nanoseconds are cut down to the microsecond); a float is rounded to the nearest
microsecond, and so is text with more digits; a row's time never depends on its neighbours; nothing overflows, since
readers refuse what is beyond `largest(unit)` first. Text is ISO 8601 as in RFC 3339, with its zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

LIMIT = 2**62
"""Largest event time either side of 1970, in microseconds: sums with a lateness stay far from overflow."""

PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds in one unit; nanoseconds, the other way round, are handled beside it."""

ISO = "iso8601"

Zoned = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment: text without a zone is none."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def largest(unit: str) -> int:
    """The largest number in `unit` that is a valid event time (its negative is the smallest)."""
    return LIMIT // PER_UNIT[unit] if unit in PER_UNIT else (2**63 - 1) // 1000 * 1000


def microseconds(times: Sequence[Any], unit: str) -> NDArray[np.int64]:
    """Times in `unit`, numbers within `largest(unit)` or moments, as microseconds."""
    if unit == ISO:
        return _moments(times)
    kinds = set(map(type, times))
    if kinds <= {int}:
        return whole(np.fromiter(times, np.int64, len(times)), unit)
    if kinds == {float}:
        return fractional(np.fromiter(times, np.float64, len(times)), unit)
    return np.concatenate([microseconds([time], unit) for time in times])


def whole(times: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    """Integers in `unit`, all within `largest(unit)`, as microseconds."""
    return times * PER_UNIT[unit] if unit in PER_UNIT else times // 1000


def fractional(times: NDArray[np.float64], unit: str) -> NDArray[np.int64]:
    """Floats in `unit`, all within `largest(unit)`, as microseconds."""
    scaled = times * PER_UNIT[unit] if unit in PER_UNIT else times / 1000
    return np.rint(scaled).astype(np.int64)


def moments(texts: Sequence[str | None]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(microseconds, whether it is a moment) of each text."""
    found = [_moment(text) for text in texts]
    valid = np.array([moment is not None for moment in found], dtype=np.bool_)
    return _moments([moment or _EPOCH for moment in found]), valid


def _moment(text: str | None) -> datetime | None:
    try:
        return msgspec.convert(text, Zoned)
    except msgspec.ValidationError:
        return None


def _moments(times: Sequence[datetime]) -> NDArray[np.int64]:
    """A float holds seconds and microseconds of our century only: far from it, whole seconds are exact beside them."""
    fractions = np.array([time.microsecond for time in times], dtype=np.int64)
    seconds = np.array([time.timestamp() for time in times], dtype=np.float64) - fractions / PER_UNIT["s"]
    return np.rint(seconds).astype(np.int64) * PER_UNIT["s"] + fractions


def in_unit(time: int, unit: str) -> int | float | str:
    """Microseconds in `unit`: an integer where that is exact, else the nearest float; text for ISO 8601.

    Raises ValueError for a time outside of the years 1 to 9999 where text is asked for.
    """
    if unit == ISO:
        return _text(time)
    if unit not in PER_UNIT:
        return time * 1000
    per_unit = PER_UNIT[unit]
    return time // per_unit if time % per_unit == 0 else time / per_unit


def _text(time: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=time)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError(f"event time {time} us lies outside of the years 1 to 9999 of ISO 8601") from None

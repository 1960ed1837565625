"""Durations as people write them: 90, "90s", "15m", "1h", "2d", "500ms"."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "": 1.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)\s*")


def seconds(value: Any) -> Any:
    """Text as seconds; anything else is left as it is. Raises ValueError for text that is no duration."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is no duration: write seconds, or a number with ms, s, m, h or d (90, 15m, 1h)")
    return float(found[1]) * _SECONDS[found[2]]


def durations(value: Any, names: Collection[str]) -> Any:
    """A section of settings with those of these names as seconds. Raises ValueError beginning with the name."""
    if not isinstance(value, dict):
        return value
    return {key: _named(key, given) if key in names else given for key, given in value.items()}


def _named(key: str, given: Any) -> Any:
    try:
        return seconds(given)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error

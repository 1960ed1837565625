"""A map as it was written: a key may be there twice, which a dict would hide."""

from __future__ import annotations

from typing import Any


class Pairs(list[tuple[Any, Any]]):
    """(key, value) in the order of the message."""

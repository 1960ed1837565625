"""Lookup in sorted arrays, and stable order by small keys: the two steps on which the speed of sampling hangs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def find(ordered: NDArray[Any], keys: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each key stands in an ascending array (left insertion point), and whether it is there: int64, bool [n]."""
    # Keys in ascending order walk through the memory once: 5 times faster than as they come, sorting included.
    order = np.argsort(keys)
    at = np.empty(len(keys), np.int64)
    at[order] = np.searchsorted(ordered, keys[order])
    if not len(ordered):
        return at, np.zeros(len(keys), bool)
    return at, ordered[np.minimum(at, len(ordered) - 1)] == keys


def stable_order(keys: NDArray[Any]) -> NDArray[np.int64]:
    """The stable ascending order of integer keys in [0, 2^31), at most 2^32 of them."""
    # Key and position in one number: a plain sort of these is several times faster than a stable argsort.
    packed = keys.astype(np.int64) << 32 | np.arange(len(keys))
    packed.sort()
    return packed & 0xFFFFFFFF

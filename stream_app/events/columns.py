"""Interactions as columns of bytes: how a segment carries them and how the journal stores them.

Numbers are little-endian (ids, times int64; labels float32), string ids are a list of strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.interactions import Ids, Interactions

_NUMBER_BYTES = 8
_LABEL_BYTES = 4
_STRING_HEADER = 5  # the largest that msgpack puts before a string


def pack_columns(interactions: Interactions) -> dict[str, Any]:
    """Plain values for msgpack, in the order of the rows."""
    return {
        "users": _pack_ids(interactions.users),
        "items": _pack_ids(interactions.items),
        "times": interactions.times.astype("<i8", copy=False).tobytes(),
        "labels": interactions.labels.astype("<f4", copy=False).tobytes(),
    }


def unpack_columns(packed: Mapping[str, Any]) -> Interactions:
    """The interactions that `pack_columns` packed; their arrays are read-only.

    Raises ValueError, KeyError or TypeError when `packed` is not what `pack_columns` makes.
    """
    return Interactions(
        _unpack_ids(packed["users"]),
        _unpack_ids(packed["items"]),
        unpack_numbers(packed["times"]),
        np.frombuffer(packed["labels"], dtype="<f4"),
    )


def unpack_numbers(packed: bytes) -> NDArray[np.int64]:
    """A packed int64 column. Raises ValueError, TypeError."""
    return np.frombuffer(packed, dtype="<i8")


def row_bytes(interactions: Interactions) -> NDArray[np.int64]:
    """The most bytes that each row takes when packed, int64 [rows]."""
    sizes = np.full(len(interactions), _NUMBER_BYTES + _LABEL_BYTES, np.int64)
    for ids in (interactions.users, interactions.items):
        if ids.dtype == object:
            sizes += np.fromiter((len(text.encode()) for text in ids), np.int64, len(ids)) + _STRING_HEADER
        else:
            sizes += _NUMBER_BYTES
    return sizes


def groups(sizes: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Where to cut a row of things of `sizes` bytes so that each group has at most `limit` bytes.

    Returns the first index of each group, int64, beginning with 0 (empty when there is nothing).
    Raises ValueError when a single one is larger than `limit`.
    """
    if len(sizes) == 0:
        return np.empty(0, np.int64)
    largest = int(sizes.max())
    if largest > limit:
        raise ValueError(f"a row of {largest} bytes does not fit into {limit}")
    starts, ends, first = [], np.cumsum(sizes), 0
    while first < len(sizes):
        starts.append(first)
        before = ends[first] - sizes[first]
        first = int(np.searchsorted(ends, before + limit, side="right"))
    return np.array(starts, np.int64)


def _pack_ids(ids: Ids) -> bytes | list[str]:
    if ids.dtype == object:
        strings: list[str] = ids.tolist()
        return strings
    return ids.astype("<i8", copy=False).tobytes()


def _unpack_ids(packed: bytes | list[str]) -> Ids:
    if isinstance(packed, bytes):
        return unpack_numbers(packed)
    if not isinstance(packed, list) or not all(type(text) is str for text in packed):
        raise TypeError("a column of ids is neither numbers nor strings")
    return np.array(packed, dtype=object)

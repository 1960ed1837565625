"""Interactions as columns of bytes: how a segment carries them and how the journal stores them.

Numbers are little-endian (ids, times int64; labels float32), string ids are a list of strings, categories a list of
lists of strings. Without categories that column is not there. A reader refuses columns that it does not know
(`wire.unknown`): to leave one out in silence would make other periods of the same topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.interactions import Categories, Ids, Interactions, category_column
from stream_app.wire import unpack_ids, unpack_labels, unpack_numbers

_NUMBER_BYTES = 8
_LABEL_BYTES = 4
_STRING_HEADER = 5  # the largest that msgpack puts before a string or a list


def pack_columns(interactions: Interactions) -> dict[str, Any]:
    """Plain values for msgpack, in the order of the rows.

    Raises ValueError or TypeError for categories that are not what `Interactions` says.
    """
    packed: dict[str, Any] = {
        "users": _pack_ids(interactions.users),
        "items": _pack_ids(interactions.items),
        "times": interactions.times.astype("<i8", copy=False).tobytes(),
        "labels": interactions.labels.astype("<f4", copy=False).tobytes(),
    }
    if interactions.categories is not None:
        packed["categories"] = _checked(interactions.categories.tolist())
    return packed


def unpack_columns(packed: Mapping[str, Any]) -> Interactions:
    """The interactions that `pack_columns` packed; their arrays are read-only.

    Raises ValueError, KeyError or TypeError when `packed` is not what `pack_columns` makes.
    """
    return Interactions(
        unpack_ids(packed["users"]),
        unpack_ids(packed["items"]),
        unpack_numbers(packed["times"]),
        unpack_labels(packed["labels"]),
        _unpack_categories(packed["categories"]) if "categories" in packed else None,
    )


def row_bytes(interactions: Interactions) -> NDArray[np.int64]:
    """The most bytes that each row takes when packed, int64 [rows]."""
    sizes = np.full(len(interactions), _NUMBER_BYTES + _LABEL_BYTES, np.int64)
    for ids in (interactions.users, interactions.items):
        if ids.dtype == object:
            sizes += np.fromiter((len(text.encode()) for text in ids), np.int64, len(ids)) + _STRING_HEADER
        else:
            sizes += _NUMBER_BYTES
    if interactions.categories is not None:
        rows = interactions.categories.tolist()
        each = {row: _STRING_HEADER + sum(len(text.encode()) + _STRING_HEADER for text in row) for row in set(rows)}
        sizes += np.fromiter((each[row] for row in rows), np.int64, len(rows))
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


def _unpack_categories(packed: list[list[str]]) -> Categories:
    if not isinstance(packed, list) or not set(map(type, packed)) <= {list}:
        raise TypeError("the column of categories is no list of lists")
    return category_column(_checked([tuple(row) for row in packed]))


def _checked(rows: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """The rows, whose order and digest are one only if all are sorted tuples of distinct strings."""
    for row in set(rows):  # few distinct ones stand for many rows
        if type(row) is not tuple or not set(map(type, row)) <= {str} or any(a >= b for a, b in pairwise(row)):
            raise ValueError(f"categories {row!r} are no sorted tuple of distinct strings")
    return rows

"""A vocabulary as tensors: ids in order of their rows, row 1 first (row 0 is the cold row and has no id).

Integers are one int64 tensor `vocabulary.<table>`. Strings are two: their UTF-8 bytes joined,
`vocabulary.<table>.bytes` (uint8), and where each begins, `vocabulary.<table>.offsets` (int64, one more than there
are strings). Where a model looks up categories, its items have theirs: `item_categories.rows` (int32), the rows of
their categories, item after item and rising within an item, and `item_categories.offsets` (int64, one more than there
are items). Where a version carries histories, `histories.rows` (int32) are the rows of the items that each user was
positive on, user after user, most recent first, `histories.offsets` (int64, one more than there are users) where each
user's begin, and `histories.newest` (uint8, one a user) how many of these are of the time `histories_until`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stream_app.versions.tensors import Array

HISTORIES_UNTIL = "histories_until"
"""In `learning` of a manifest: the largest event time of the histories, in microseconds."""
HISTORY = 30
"""Items that a history has at most."""

_USERS = 1 << 16  # looked at at a time: the lengths of all histories at once would be as large as their offsets


def ids_to_tensors(table: str, ids: NDArray[Any] | Sequence[Any]) -> dict[str, Array]:
    """`ids`: integers, or strings (an object array of `str`); `table` is "users", "items" or "categories".

    An empty sequence that is not an integer array counts as strings. Raises ValueError for anything else.
    """
    column = np.asarray(ids)
    if column.dtype.kind in "iu":
        return {f"vocabulary.{table}": np.ascontiguousarray(column, dtype=np.int64)}
    texts = column.tolist()
    if not all(type(text) is str for text in texts):
        raise ValueError(f"ids of {table} are neither all integers nor all strings")
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return {
        f"vocabulary.{table}.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"vocabulary.{table}.offsets": offsets,
    }


def ids_from_tensors(table: str, tensors: Mapping[str, Array]) -> NDArray[Any]:
    """The ids in row order: int64, or objects that are all `str`.

    Raises ValueError when the tensors hold no such column.
    """
    if kind_of_ids(table, tensors) == "int":
        return tensors[f"vocabulary.{table}"]
    raw, offsets = tensors[f"vocabulary.{table}.bytes"].tobytes(), tensors[f"vocabulary.{table}.offsets"]
    if not rising(offsets, len(raw)):
        raise ValueError(f"vocabulary of {table}: offsets do not rise from 0 to the number of bytes")
    bounds = offsets.tolist()
    ids = np.empty(len(bounds) - 1, object)
    ids[:] = [raw[begin:end].decode() for begin, end in pairwise(bounds)]
    return ids


def ids_of_rows(table: str, tensors: Mapping[str, Array], rows: NDArray[Any]) -> list[Any]:
    """The ids of these rows (from 1 on) of a vocabulary that has been checked; the others are not looked at."""
    if kind_of_ids(table, tensors) == "int":
        return list(tensors[f"vocabulary.{table}"][rows - 1].tolist())
    raw, offsets = tensors[f"vocabulary.{table}.bytes"], tensors[f"vocabulary.{table}.offsets"]
    bounds = zip(offsets[rows - 1].tolist(), offsets[rows].tolist(), strict=True)
    return [raw[begin:end].tobytes().decode() for begin, end in bounds]


def kind_of_ids(table: str, tensors: Mapping[str, Any]) -> Literal["int", "string"]:
    """What the names of the tensors say about the ids of a table. Raises ValueError when they hold no column for it."""
    if f"vocabulary.{table}" in tensors:
        return "int"
    if f"vocabulary.{table}.bytes" in tensors and f"vocabulary.{table}.offsets" in tensors:
        return "string"
    raise ValueError(f"no vocabulary of {table}")


def kinds_of_ids(tensors: Mapping[str, Any]) -> dict[str, Literal["int", "string"]]:
    """Of users, items and, where there are any, categories. Raises ValueError when users or items have no column."""
    tables = ("users", "items", *(("categories",) if "vocabulary.categories.offsets" in tensors else ()))
    return {table: kind_of_ids(table, tensors) for table in tables}


def item_categories_to_tensors(rows: NDArray[Any], offsets: NDArray[Any]) -> dict[str, Array]:
    """Of item row i (1 for the first id) `rows[offsets[i - 1]:offsets[i]]`, its rows of the category table."""
    return {
        "item_categories.rows": np.ascontiguousarray(rows, dtype=np.int32),
        "item_categories.offsets": np.ascontiguousarray(offsets, dtype=np.int64),
    }


def item_categories_from_tensors(tensors: Mapping[str, Array], categories: int) -> tuple[Array, Array]:
    """(rows, offsets) as `item_categories_to_tensors` takes them, for a vocabulary of so many categories.

    Raises ValueError unless every item has rows of that vocabulary, none of them twice.
    """
    rows, offsets = tensors["item_categories.rows"], tensors["item_categories.offsets"]
    if not rising(offsets, len(rows)):
        raise ValueError("item_categories: offsets do not rise from 0 to the number of rows")
    if len(rows) and not 1 <= int(rows.min()) <= int(rows.max()) <= categories:
        raise ValueError(f"item_categories: rows from {rows.min()} to {rows.max()}, there are 1 to {categories}")
    rises = rows[1:] > rows[:-1]
    rises[offsets[(offsets > 0) & (offsets < len(rows))] - 1] = True  # there the next item begins
    if not rises.all():
        raise ValueError("item_categories: the rows of an item do not rise")
    return rows, offsets


def histories_to_tensors(rows: NDArray[Any], offsets: NDArray[Any], newest: NDArray[Any]) -> dict[str, Array]:
    """Of user row u (1 for the first id) `rows[offsets[u - 1]:offsets[u]]`, item rows, most recent first; of these the
    first `newest[u - 1]` are of the time until which the histories go."""
    return {
        "histories.rows": np.ascontiguousarray(rows, dtype=np.int32),
        "histories.offsets": np.ascontiguousarray(offsets, dtype=np.int64),
        "histories.newest": np.ascontiguousarray(newest, dtype=np.uint8),
    }


def check_histories(tensors: Mapping[str, Array], items: int) -> None:
    """Raises ValueError unless every user has at most `HISTORY` rows, of a vocabulary of so many items, and says of no
    more than these that they are the newest."""
    rows, offsets, newest = (tensors[f"histories.{name}"] for name in ("rows", "offsets", "newest"))
    if not rising(offsets, len(rows)):
        raise ValueError("histories: offsets do not rise from 0 to the number of rows")
    if len(rows) and not 1 <= int(rows.min()) <= int(rows.max()) <= items:
        raise ValueError(f"histories: rows from {rows.min()} to {rows.max()}, there are 1 to {items}")
    for begin in range(0, len(newest), _USERS):
        lengths = np.diff(offsets[begin : begin + _USERS + 1])
        if np.any(lengths > HISTORY):
            raise ValueError(f"histories: a user has {lengths.max()} rows, at most {HISTORY} are carried")
        if np.any(newest[begin : begin + _USERS] > lengths):
            raise ValueError("histories: a user has fewer rows than are said to be the newest")


def rising(offsets: Array, end: int) -> bool:
    """Whether the offsets go from 0 to `end` and never back."""
    return len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == end and not np.any(offsets[1:] < offsets[:-1])

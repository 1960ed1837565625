"""A vocabulary as tensors: ids in order of their rows, row 1 first (row 0 is the cold row and has no id).

Integers are one int64 tensor `vocabulary.<table>`. Strings are two: their UTF-8 bytes joined,
`vocabulary.<table>.bytes` (uint8), and where each begins, `vocabulary.<table>.offsets` (int64, one more than there
are strings).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stream_app.versions.tensors import Array


def ids_to_tensors(table: str, ids: NDArray[Any] | Sequence[Any]) -> dict[str, Array]:
    """`ids`: integers, or strings (an object array of `str`); `table` is "users" or "items".

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
    if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(raw) or np.any(offsets[1:] < offsets[:-1]):
        raise ValueError(f"vocabulary of {table}: offsets do not rise from 0 to the number of bytes")
    bounds = offsets.tolist()
    ids = np.empty(len(bounds) - 1, object)
    ids[:] = [raw[begin:end].decode() for begin, end in pairwise(bounds)]
    return ids


def kind_of_ids(table: str, tensors: Mapping[str, Any]) -> Literal["int", "string"]:
    """What the names of the tensors say about the ids of a table. Raises ValueError when they hold no column for it."""
    if f"vocabulary.{table}" in tensors:
        return "int"
    if f"vocabulary.{table}.bytes" in tensors and f"vocabulary.{table}.offsets" in tensors:
        return "string"
    raise ValueError(f"no vocabulary of {table}")


def distinct(ids: NDArray[Any]) -> bool:
    """Whether no id stands twice."""
    return len(set(ids.tolist())) == len(ids) if ids.dtype == object else len(np.unique(ids)) == len(ids)

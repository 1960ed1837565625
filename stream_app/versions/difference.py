"""What became of a version: another one beside it, number by number, id by id, row by row.

Within a run a vocabulary only grows at its end, so row n of a table is the same id in both versions. Where one
vocabulary does not continue the other (versions of two runs), rows of its tables are not compared: they are of other
ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_app.versions.columns import ids_from_tensors, kinds_of_ids
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import Array

_BLOCK_BYTES = 16 << 20  # of rows that are compared at a time: float64 copies of them stay small
_NOT_TENSORS = "vocabulary."


@dataclass(frozen=True)
class Growth:
    """A vocabulary's numbers of ids: in the first version and the second, only in the second, only in the first.

    continues: the one with fewer ids is the beginning of the other.
    """

    before: int
    after: int
    new: int
    gone: int
    continues: bool


@dataclass(frozen=True)
class TensorChange:
    """A tensor in both versions: rows that both have, those of them that differ in any bit, and how many more rows the
    second has.

    largest: max |second - first| over those rows, of floating-point values; None where there are none, or where it
    is not finite. compared: why its rows were not compared, "" if they were.
    """

    rows: int
    changed: int
    added: int
    largest: float | None
    not_compared: str = ""


def growth(first: ModelVersion, second: ModelVersion) -> dict[str, Growth]:
    """Of each vocabulary that both have. Raises ValueError when a column is none."""
    others = kinds_of_ids(second.tensors)
    return {
        table: _growth(table, first.tensors, second.tensors) for table in kinds_of_ids(first.tensors) if table in others
    }


def tensor_changes(first: ModelVersion, second: ModelVersion, grown: Mapping[str, Growth]) -> dict[str, TensorChange]:
    """Of each tensor but the vocabularies, in the order of their names; `grown` is what `growth` says."""
    names = sorted(name for name in first.tensors.keys() | second.tensors.keys() if not name.startswith(_NOT_TENSORS))
    others = {(one.before + 1, one.after + 1): table for table, one in grown.items() if not one.continues}
    return {name: _change(first.tensors.get(name), second.tensors.get(name), others) for name in names}


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Values of both under each key where they are not the same; None where there is none."""
    keys = dict.fromkeys((*first, *second))
    return {key: (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)}


def _growth(table: str, first: Mapping[str, Array], second: Mapping[str, Array]) -> Growth:
    columns = [name for name in first if name == f"vocabulary.{table}" or name.startswith(f"vocabulary.{table}.")]
    continues = all(name in second and _begins(first[name], second[name]) for name in columns)
    if continues:
        before, after = (_count(table, tensors) for tensors in (first, second))
        return Growth(before, after, max(after - before, 0), max(before - after, 0), True)
    one, other = (set(ids_from_tensors(table, tensors).tolist()) for tensors in (first, second))
    return Growth(len(one), len(other), len(other - one), len(one - other), False)


def _begins(one: Array, other: Array) -> bool:
    """Whether the shorter is the beginning of the longer."""
    common = min(len(one), len(other))
    return bool(np.array_equal(one[:common], other[:common]))


def _count(table: str, tensors: Mapping[str, Array]) -> int:
    ids = tensors.get(f"vocabulary.{table}")
    return len(tensors[f"vocabulary.{table}.offsets"]) - 1 if ids is None else len(ids)


def _change(first: Array | None, second: Array | None, others: Mapping[tuple[int, int], str]) -> TensorChange:
    if first is None or second is None:
        return TensorChange(0, 0, 0, None, f"only in the {'second' if first is None else 'first'}")
    one, other = np.atleast_1d(first), np.atleast_1d(second)
    added = len(other) - len(one)
    if one.dtype != other.dtype or one.shape[1:] != other.shape[1:]:
        return TensorChange(0, 0, added, None, f"{list(first.shape)} and {list(second.shape)} do not fit each other")
    if table := others.get((len(one), len(other))):
        return TensorChange(0, 0, added, None, f"its rows are of other {table}")
    changed, largest = _compared(one, other)
    return TensorChange(min(len(one), len(other)), changed, added, largest)


def _compared(first: Array, second: Array) -> tuple[int, float | None]:
    """Rows that differ, and the largest difference of floating-point values."""
    rows = min(len(first), len(second))
    step = max(1, _BLOCK_BYTES // max(1, first[:1].nbytes))
    changed, largest = 0, 0.0
    for begin in range(0, rows, step):
        one, other = (array[begin : min(begin + step, rows)] for array in (first, second))
        bits = f"u{first.dtype.itemsize}"
        differs = one.view(bits) != other.view(bits)
        changed += int(np.count_nonzero(differs.reshape(len(one), -1).any(axis=1)))
        if first.dtype.kind == "f":
            with np.errstate(all="ignore"):
                moved = np.abs(other.astype(np.float64) - one)
            largest = float(np.maximum(largest, moved.max(initial=0.0)))
    return changed, largest if first.dtype.kind == "f" and rows and math.isfinite(largest) else None

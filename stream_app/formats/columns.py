"""Arrow columns of a recording to interactions, by the same rules as messages, a batch of rows at a time.

A column of a wrong type is an error in the recording; a value that is missing or out of range makes its row a bad row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.interactions import Interactions
from stream_app.events.record import BadRow, RecordSettings, Values
from stream_app.formats import categories
from stream_app.formats.conditions import conditions
from stream_app.formats.decoded import Decoded
from stream_app.formats.event_time import ISO, LIMIT, fractional, largest, moments, whole
from stream_app.formats.row import ID_BYTES

Mask = NDArray[np.bool_]


def wanted(settings: RecordSettings) -> dict[str, str]:
    """Part of an interaction -> the column that holds it, for those that the settings ask for.

    Columns that are compared with values are parts too: `compared` with their names.
    """
    parts = {**settings.fields(), "time": settings.time}
    return parts | {compared(path): path for _, path in settings.conditions()}


def compared(path: str) -> str:
    """The part that a column has which `where` or `positive_when` names."""
    return f"compared {path}"


def type_problem(part: str, kind: pa.DataType, settings: RecordSettings) -> str:
    """Why a column of this Arrow type cannot hold that part, "" when it can."""
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if part == compared(part.removeprefix(compared(""))):
        return "" if numeric or _is_text(kind) or pa.types.is_boolean(kind) else f"holds {kind}, which is not compared"
    if part in ("user", "item"):
        ids = settings.user_ids if part == "user" else settings.item_ids
        if ids == "int":
            return (
                ""
                if pa.types.is_integer(kind)
                else f'holds {kind}, not integers; for strings set {part}_ids = "string"'
            )
        return "" if _is_text(kind) else f'holds {kind}, not strings; for integers set {part}_ids = "int"'
    if part == "categories":
        one = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
        return "" if _is_text(one) else f"holds {kind}, not strings or lists of them"
    if part == "time" and pa.types.is_timestamp(kind):
        return ""
    if part == "time" and settings.time_unit == ISO:
        return "" if _is_text(kind) else f"holds {kind}, not text; for numbers set time_unit"
    return "" if numeric else f"holds {kind}, not numbers"


def decode_columns(
    columns: Mapping[str, pa.Array], offsets: NDArray[np.int64], settings: RecordSettings, as_text: bool = False
) -> Decoded:
    """Interactions from the columns of `wanted`, all of types without `type_problem` and as long as `offsets`.

    as_text: columns that are compared with values hold text, whatever the values are.
    """
    time = _times(columns["time"], settings)
    labels = _labels(columns, settings, as_text)
    parts = {"user": _ids(columns["user"]), "item": _ids(columns["item"]), "time": time, **labels}
    if settings.categories:
        parts["categories"] = _categories(columns["categories"])
    listed = _met(settings.where, columns, as_text)
    good = listed.copy()
    bad: list[BadRow] = []
    names = wanted(settings)
    for part, read in parts.items():
        wrong = "wrong-type" if part == "time" and _is_text(columns["time"].type) else "out-of-range"
        missing = good & read.missing
        for mask, reason in ((missing, "missing-field"), (good & ~read.missing & ~read.valid, wrong)):
            for row in np.flatnonzero(mask):
                bad.append(BadRow(int(offsets[row]), reason, names.get(part, ""), _as_text(columns, int(row))))
        good &= ~read.missing & read.valid
    interactions = Interactions(
        *(parts[part].values for part in ("user", "item", "time", "label", "categories") if part in parts)
    )
    bad.sort(key=lambda row: row.offset)
    filtered = int(np.count_nonzero(~listed))
    return Decoded(interactions.select(good), offsets[good], (), tuple(bad), filtered=filtered)


@dataclass(frozen=True)
class _Read:
    """values where they are `valid` and not `missing`; anything of the right type elsewhere."""

    values: NDArray[Any]
    missing: Mask
    valid: Mask


def _ids(column: pa.Array) -> _Read:
    missing = _mask(pc.is_null(column))
    if pa.types.is_integer(column.type):
        valid = _within(column, -(2**63), 2**63 - 1)
        return _Read(_filled(column, valid & ~missing, pa.int64()), missing, valid)
    texts = column.cast(pa.large_string())
    sizes = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    values = texts.to_numpy(zero_copy_only=False)
    return _Read(values.astype(object), missing, (sizes >= 1) & (sizes <= ID_BYTES))


def _times(column: pa.Array, settings: RecordSettings) -> _Read:
    unit = settings.time_unit
    if pa.types.is_timestamp(column.type):
        unit = column.type.unit
        column = column.view(pa.int64())
    missing = _mask(pc.is_null(column))
    if _is_text(column.type):
        times, valid = moments(column.to_pylist())
        return _Read(times, missing, valid)
    if pa.types.is_integer(column.type):
        valid = _within(column, -largest(unit), largest(unit))
        return _Read(whole(_filled(column, valid & ~missing, pa.int64()), unit), missing, valid)
    numbers = _floats(column)
    valid = np.abs(numbers) <= float(largest(unit))
    times = fractional(np.where(valid, numbers, 0.0), unit)
    return _Read(times, missing, valid & (np.abs(times) <= LIMIT))


def _met(wanted_values: Values, columns: Mapping[str, pa.Array], as_text: bool) -> Mask:
    met = np.ones(len(columns["user"]), dtype=np.bool_)
    for condition in conditions(wanted_values, as_text):
        met &= condition.met(columns[compared(condition.path)].to_pylist())
    return met


def _labels(columns: Mapping[str, pa.Array], settings: RecordSettings, as_text: bool) -> dict[str, _Read]:
    rows = len(columns["user"])
    if settings.rating:
        ratings = _floats(columns["rating"])
        labels = (ratings >= settings.rating_threshold).astype(np.float32)
        return {"label": _Read(labels, _mask(pc.is_null(columns["rating"])), np.isfinite(ratings))}
    if not settings.label or settings.positive_when:
        none = np.zeros(rows, dtype=np.bool_)
        return {"label": _Read(_met(settings.positive_when, columns, as_text).astype(np.float32), none, ~none)}
    given = _floats(columns["label"])
    valid = (given == 0) | (given == 1)
    return {"label": _Read(given.astype(np.float32), _mask(pc.is_null(columns["label"])), valid)}


def _categories(column: pa.Array) -> _Read:
    """A null is no category; a null among the categories of a row is a missing value."""
    given = column.to_pylist()
    missing = np.array([isinstance(row, list) and None in row for row in given], dtype=np.bool_)
    values, valid = categories.read([None if lacks else row for row, lacks in zip(given, missing, strict=True)])
    return _Read(values, missing, valid)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _mask(column: pa.Array) -> Mask:
    found: Mask = column.to_numpy(zero_copy_only=False).astype(np.bool_)
    return found


def _within(column: pa.Array, smallest: int, greatest: int) -> Mask:
    """Which integers lie in a range that may reach beyond those of the column's type; nulls do not."""
    numbers = column.to_numpy(zero_copy_only=False) if column.null_count == 0 else pc.fill_null(column, 0).to_numpy()
    limits = np.iinfo(numbers.dtype)
    within: Mask = (numbers >= max(smallest, limits.min)) & (numbers <= min(greatest, limits.max))
    return within


def _filled(column: pa.Array, keep: Mask, kind: pa.DataType) -> NDArray[Any]:
    """The values where `keep` says so, 0 elsewhere."""
    kept = pc.if_else(pa.array(keep), column, pa.scalar(0, column.type))
    values: NDArray[Any] = kept.cast(kind).to_numpy(zero_copy_only=False)
    return values


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """NaN where there is none."""
    values: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _as_text(columns: Mapping[str, pa.Array], row: int) -> bytes:
    """The row as JSON, for the report on bad rows."""
    return json.dumps({part: column[row].as_py() for part, column in columns.items()}, default=str).encode()

"""Recordings as CSV files: a header line, commas, double quotes, UTF-8.

A value is read as text and then as what its column should hold, so that a wrong one is a bad row and not the end of the
file. An empty field is a missing value. Times are integers or decimal numbers, the same for `batch` rows at a time.
Several categories of an item have "|" between them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stream_app.errors import BadInput
from stream_app.events.record import BadRow, RecordSettings
from stream_app.formats.columns import decode_columns, wanted
from stream_app.formats.decoded import Decoded
from stream_app.formats.event_time import ISO
from stream_app.formats.recorded import missing_column, reading

Numbered = tuple[int, list[str]]


@dataclass(frozen=True)
class Csv:
    """A CSV file with a header line; rows are numbered from 0 behind it, empty lines are none."""

    path: Path
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    def rows(self) -> int:
        """Reads the whole file. Raises BadInput."""
        return sum(1 for _ in self._records()) - 1

    def read(self, settings: RecordSettings, batch: int) -> Iterator[Decoded]:
        """At most `batch` rows at a time. Raises BadInput for a column that is missing or holds nothing of its type."""
        records = self._records()
        names = next(records)
        columns = wanted(settings)
        for part, name in columns.items():
            if name not in names:
                raise missing_column(self.path, part, name, names)
        places = {part: names.index(name) for part, name in columns.items()}
        numbered, first = enumerate(records), True
        while rows := list(islice(numbered, batch)):
            whole = [(number, row) for number, row in rows if len(row) == len(names)]
            torn = [_bad(row, "undecodable", "") for row in rows if len(row[1]) != len(names)]
            yield _merged(self._decode(whole, places, settings, first), torn)
            first = False

    def _records(self) -> Iterator[list[str]]:
        """The header, then every row that is not empty."""
        with reading(self.path), self.path.open(newline="", encoding="utf-8-sig") as file:
            records = (row for row in csv.reader(file, strict=True) if row)
            header = next(records, None)
            if header is None:
                raise BadInput(self.path, "is empty; its first line must name the columns")
            yield header
            yield from records

    def _decode(
        self, rows: Sequence[Numbered], places: Mapping[str, int], settings: RecordSettings, first: bool
    ) -> Decoded:
        bad: list[BadRow] = []
        columns: dict[str, pa.Array] = {}
        wrong = np.zeros(len(rows), dtype=np.bool_)
        for part, place in places.items():
            texts = pa.array([row[place] or None for _, row in rows], pa.string())
            values, failed = _parsed(texts, _kinds(part, settings))
            columns[part] = pc.split_pattern(values, "|") if part == "categories" else values
            name = wanted(settings)[part]
            if first and len(rows) and failed.all():
                kind = _kinds(part, settings)[0]
                raise BadInput(self.path, f"column {name!r} holds {texts[0].as_py()!r}, not values of type {kind}")
            bad += [_bad(rows[row], "wrong-type", name) for row in np.flatnonzero(failed & ~wrong).tolist()]
            wrong |= failed
        offsets = np.array([number for number, _ in rows], dtype=np.int64)[~wrong]
        kept = {part: column.filter(pa.array(~wrong)) for part, column in columns.items()}
        return _merged(decode_columns(kept, offsets, settings, as_text=True), bad)


def _kinds(part: str, settings: RecordSettings) -> list[pa.DataType]:
    """The types that a column may have, the first that fits all of its values."""
    if part in ("user", "item"):
        ids = settings.user_ids if part == "user" else settings.item_ids
        return [pa.int64()] if ids == "int" else [pa.string()]
    if part in ("label", "rating") or (part == "time" and settings.time_unit != ISO):
        return [pa.int64(), pa.float64()]
    return [pa.string()]


def _parsed(texts: pa.Array, kinds: Sequence[pa.DataType]) -> tuple[pa.Array, NDArray[np.bool_]]:
    """(values, which texts are none of that kind); those are null among the values."""
    for kind in kinds:
        try:
            return texts.cast(kind), np.zeros(len(texts), dtype=np.bool_)
        except pa.ArrowInvalid:
            continue
    failed = np.array([not _fits(text, kinds[-1]) for text in texts], dtype=np.bool_)
    values, _ = _parsed(pc.if_else(pa.array(failed), pa.scalar(None, pa.string()), texts), kinds)
    return values, failed


def _fits(text: pa.Scalar, kind: pa.DataType) -> bool:
    try:
        text.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _merged(decoded: Decoded, bad: Sequence[BadRow]) -> Decoded:
    return replace(decoded, bad=tuple(sorted((*decoded.bad, *bad), key=lambda row: row.offset)))


def _bad(numbered: Numbered, reason: str, field: str) -> BadRow:
    number, row = numbered
    return BadRow(number, reason, field, ",".join(row).encode())

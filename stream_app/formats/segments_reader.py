"""Reads the records of a segments topic back from a Parquet file (`segments_file`), a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.interactions import Interactions, category_column
from stream_app.errors import BadInput
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.formats.decoded import Decoded
from stream_app.formats.recorded import reading
from stream_app.formats.segments_file import (
    ENDED,
    IDLE,
    INTERACTION,
    KINDS,
    PARTITIONS,
    SEGMENT,
    WATERMARK,
    About,
    about,
    check,
)

_BATCH = 65_536


def records(path: Path, settings: RecordSettings) -> Iterator[SegmentsRecord]:
    """The records, as they were written. Raises BadInput: no such recording, a damaged one, other settings."""
    found = about(path)
    if found is None:
        raise BadInput(path, "is no recording that `asmg record` has written")
    check(path, found, settings)
    assembly = _Assembly(found)
    try:
        with reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                yield from assembly.take(batch)
        yield from assembly.whole()
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(path, f"is damaged: {error}", "record it again") from error


@dataclass(frozen=True)
class SegmentsFile:
    """Such a recording as one of many formats: its interactions alone, in their order."""

    path: Path
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def rows(self) -> int:
        """How many interactions; reads one column. Raises BadInput."""
        with reading(self.path), pq.ParquetFile(self.path) as file:
            batches = file.iter_batches(_BATCH, columns=["kind"])
            return sum(int(np.count_nonzero(batch["kind"].to_numpy(False) == INTERACTION)) for batch in batches)

    def read(self, settings: RecordSettings, batch: int) -> Iterator[Decoded]:
        """At most `batch` at a time, numbered from 0. Raises BadInput."""
        number = 0
        for record in records(self.path, settings):
            if isinstance(record, Segment):
                for first in range(0, len(record), batch):
                    rows = record.interactions.select(slice(first, first + batch))
                    yield Decoded(rows, np.arange(number, number + len(rows), dtype=np.int64), (), ())
                    number += len(rows)


@dataclass
class _Open:
    """A segment whose rows are being read."""

    partition: int
    first_offset: int
    next_offset: int
    count: int
    offsets: list[NDArray[np.int64]] = field(default_factory=list)
    rows: list[Interactions] = field(default_factory=list)
    marks: list[tuple[int, int]] = field(default_factory=list)

    def segment(self) -> Segment:
        """Raises ValueError when it is not whole."""
        offsets, rows = np.concatenate(self.offsets), Interactions.concatenate(self.rows)
        if len(rows) != self.count:
            raise ValueError(f"a segment of {self.count} interactions has {len(rows)}")
        return Segment(self.partition, self.first_offset, self.next_offset, offsets, rows, tuple(self.marks))


class _Assembly:
    """Puts rows together to records again; at most one segment and one batch are in memory."""

    def __init__(self, found: About) -> None:
        self._nothing = Interactions.empty(found.user_ids, found.item_ids, found.categories)
        self._open: _Open | None = None

    def take(self, batch: pa.RecordBatch) -> Iterator[SegmentsRecord]:
        """The records that are whole with these rows."""
        rows = _Rows(batch)
        borders = [*rows.heads.tolist(), len(batch)]
        self._extend(rows, 0, borders[0])
        for head, following in pairwise(borders):
            yield from self.whole()
            if rows.kinds[head] == SEGMENT:
                first, after, count = (rows.number(name, head) for name in ("offset", "next_offset", "count"))
                self._open = _Open(rows.number("partition", head), first, after, count, [], [self._nothing])
                self._open.offsets.append(np.empty(0, np.int64))
            else:
                yield rows.record(head)
            self._extend(rows, head + 1, following)

    def whole(self) -> Iterator[SegmentsRecord]:
        """The segment that nothing is added to any more."""
        if self._open is not None:
            yield self._open.segment()
        self._open = None

    def _extend(self, rows: _Rows, first: int, end: int) -> None:
        if first == end:
            return
        if self._open is None:
            raise ValueError(f"a row of kind {rows.kinds[first]} belongs to no segment")
        if {self._open.partition} != set(rows.partitions[first:end].tolist()):
            raise ValueError(f"a segment of partition {self._open.partition} has rows of another")
        offsets, interactions = rows.between(first, end)
        self._open.offsets.append(offsets)
        self._open.rows.append(interactions)
        self._open.marks += rows.marks(first, end)


class _Rows:
    """A batch of the file by columns; a null where something must be raises ValueError."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self.kinds: NDArray[Any] = batch["kind"].to_numpy(zero_copy_only=False)
        if unknown := set(self.kinds) - set(KINDS):
            raise ValueError(f"rows of kind {', '.join(map(str, unknown))}")
        told = self.kinds == INTERACTION
        said = (self.kinds == WATERMARK) | (self.kinds == ENDED)
        self.heads = np.flatnonzero(~told & ~said)
        self.partitions: NDArray[np.int64] = batch["partition"].fill_null(-1).to_numpy()
        self._marks = np.flatnonzero(said)
        self._before = np.concatenate([[0], np.cumsum(told)])
        only = batch.filter(pa.array(told))
        self._offsets = _numbers(only, "offset", pa.int64())
        self._interactions = _interactions(only)

    def number(self, name: str, row: int) -> int:
        """A number that must be there."""
        value = self._batch[name][row].as_py()
        if value is None:
            raise ValueError(f"a row of kind {self.kinds[row]} has no {name}")
        return int(value)

    def record(self, row: int) -> SegmentsRecord:
        """What a row says that is a record by itself."""
        kind = self.kinds[row]
        if kind == PARTITIONS:
            return PartitionSet(self.number("count", row), self._batch["name"][row].as_py() or "")
        if kind == IDLE:
            return IdleMark(self.number("partition", row), self.number("offset", row))
        return RunMark(self._batch["name"][row].as_py() or "")

    def between(self, first: int, end: int) -> tuple[NDArray[np.int64], Interactions]:
        """(offsets, interactions) among these rows."""
        rows = slice(int(self._before[first]), int(self._before[end]))
        return self._offsets[rows], self._interactions.select(rows)

    def marks(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """(offset, time) of the watermark records among these rows."""
        for row in self._marks[slice(*np.searchsorted(self._marks, (first, end)))].tolist():
            time = END if self.kinds[row] == ENDED else self._batch["timestamp"][row].value
            if time is None:
                raise ValueError("a watermark record has no timestamp")
            yield self.number("offset", row), time


def _interactions(rows: pa.RecordBatch) -> Interactions:
    named = "categories" in rows.schema.names
    return Interactions(
        _ids(rows, "user_id"),
        _ids(rows, "item_id"),
        _numbers(rows, "timestamp", pa.int64()),
        _numbers(rows, "label", pa.float32()),
        category_column(rows["categories"].to_pylist()) if named else None,
    )


def _ids(rows: pa.RecordBatch, name: str) -> NDArray[Any]:
    if pa.types.is_integer(rows[name].type):
        return _numbers(rows, name, pa.int64())
    values: NDArray[Any] = _whole(rows, name).to_numpy(zero_copy_only=False)
    return values.astype(object)


def _numbers(rows: pa.RecordBatch, name: str, kind: pa.DataType) -> NDArray[Any]:
    values: NDArray[Any] = _whole(rows, name).view(kind).to_numpy()
    return values


def _whole(rows: pa.RecordBatch, name: str) -> pa.Array:
    if rows[name].null_count:
        raise ValueError(f"an interaction has no {name}")
    return rows[name]

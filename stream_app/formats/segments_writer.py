"""Writes the records of a segments topic as a Parquet file (`segments_file`), a row group at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.formats.segments_file import (
    ENDED,
    EVENT_TIME,
    IDLE,
    INTERACTION,
    PARTITIONS,
    RUN,
    SEGMENT,
    WATERMARK,
    About,
)

GROUP_ROWS = 131_072
"""Rows of a row group: what is held in memory."""


class SegmentsWriter:
    """The file is whole once `close` has returned."""

    def __init__(self, path: Path, about: About) -> None:
        """Raises OSError."""
        self._about, self._schema = about, about.schema()
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def put(self, record: SegmentsRecord, at_ms: int | None = None, rows_at: NDArray[np.int64] | None = None) -> None:
        """The next record. at_ms: Kafka's timestamp of its message; rows_at: of each of its rows, if that differs.

        Raises ValueError when its interactions do not fit the file, OSError.
        """
        match record:
            case Segment():
                self._put_segment(record, at_ms, rows_at)
            case PartitionSet(count, topic_id):
                self._put(1, at_ms, kind=PARTITIONS, count=count, name=topic_id)
            case IdleMark(partition, end):
                self._put(1, at_ms, kind=IDLE, partition=partition, offset=end)
            case RunMark(run):
                self._put(1, at_ms, kind=RUN, name=run)
        if self._rows >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Writes what is left, and the footer. Raises OSError."""
        self._flush()
        self._writer.close()

    def _put_segment(self, segment: Segment, at_ms: int | None, rows_at: NDArray[np.int64] | None) -> None:
        rows, partition = segment.interactions, segment.partition
        if problem := self._about.problem(rows):
            raise ValueError(problem)
        begin = {"offset": segment.first_offset, "next_offset": segment.next_offset, "count": len(rows)}
        self._put(1, at_ms, kind=SEGMENT, partition=partition, **begin)
        columns = {
            "offset": segment.offsets,
            "user_id": rows.users,
            "item_id": rows.items,
            "timestamp": rows.times,
            "label": rows.labels,
            "categories": None if rows.categories is None else rows.categories.tolist(),
        }
        times = at_ms if rows_at is None else pa.array(rows_at, pa.int64(), mask=rows_at < 0)
        self._put(len(rows), times, kind=INTERACTION, partition=partition, **columns)
        for offset, time in segment.marks:
            if time == END:
                self._put(1, at_ms, kind=ENDED, partition=partition, offset=offset)
            else:
                self._put(1, at_ms, kind=WATERMARK, partition=partition, offset=offset, timestamp=time)

    def _put(self, rows: int, at_ms: Any, /, **columns: Any) -> None:
        """So many rows; a single value is that of all of them, a column that is not given is null."""
        columns["kafka_timestamp"] = at_ms
        arrays = [_column(columns.get(field.name), field.type, rows) for field in self._schema]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows += rows

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting, self._rows = [], 0


def _column(value: Any, kind: pa.DataType, count: int) -> pa.Array:
    if value is None:
        return pa.nulls(count, kind)
    if isinstance(value, str | int):
        return pa.repeat(pa.scalar(value, kind), count)
    if kind == EVENT_TIME:
        return pa.array(value, pa.int64()).view(kind)
    return value.view(kind) if isinstance(value, pa.Array) else pa.array(value, kind)

"""Recordings as Parquet files: columns by name, types as the file says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream_app.errors import BadInput
from stream_app.events.field_path import steps
from stream_app.events.record import RecordSettings
from stream_app.formats.columns import decode_columns, type_problem, wanted
from stream_app.formats.decoded import Decoded
from stream_app.formats.recorded import missing_column, reading


@dataclass(frozen=True)
class Parquet:
    """A Parquet file; nothing but the columns that are asked for is read."""

    path: Path
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def rows(self) -> int:
        """From the file's footer, at no cost. Raises BadInput."""
        with reading(self.path), pq.ParquetFile(self.path) as file:
            return int(file.metadata.num_rows)

    def read(self, settings: RecordSettings, batch: int) -> Iterator[Decoded]:
        """At most `batch` rows at a time. Raises BadInput naming the column that is missing or of a wrong type."""
        columns = wanted(settings)
        with reading(self.path), pq.ParquetFile(self.path) as file:
            _check(self.path, file.schema_arrow, settings)
            first = 0
            for rows in file.iter_batches(batch, columns=list(dict.fromkeys(columns.values()))):
                offsets = np.arange(first, first + len(rows), dtype=np.int64)
                yield decode_columns({part: _column(rows, name) for part, name in columns.items()}, offsets, settings)
                first += len(rows)


def _check(path: Path, schema: pa.Schema, settings: RecordSettings) -> None:
    for part, name in wanted(settings).items():
        kind = _kind(schema, name)
        if kind is None:
            raise missing_column(path, part, name, schema.names)
        if schema.names.count(name) > 1:
            raise BadInput(path, f"has two columns {name!r}")
        if problem := type_problem(part, kind, settings):
            raise BadInput(path, f"column {name!r} {problem}")


def _kind(schema: pa.Schema, name: str) -> pa.DataType | None:
    """The type of a column, or of a field within a column of structs; None where there is neither."""
    if name in schema.names:
        return schema.types[schema.names.index(name)]
    first, *rest = steps(name)
    kind: Any = schema.field(first).type if schema.names.count(first) == 1 else None
    for key in rest:
        if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(key) < 0:
            return None
        kind = kind.field(key).type
    return kind


def _column(rows: pa.RecordBatch, name: str) -> pa.Array:
    if name in rows.schema.names:
        return rows[name]
    first, *rest = steps(name)
    return pc.struct_field(rows[first], rest)

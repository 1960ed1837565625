"""Writes plain recordings, one batch of columns after the other: what `recording` reads, by the file's suffix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from stream_app.errors import BadInput
from stream_app.formats.whole_file import named_when_whole


def write(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """The batches, at least one and all of one schema, as the recording `path`; it is there whole or not at all.

    A batch is gone from memory when the next one comes. Raises BadInput for a suffix, and for a file that cannot be
    written.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise BadInput(path, "is no name for a recording", f"let it end in one of {', '.join(_WRITERS)}")
    rest = iter(batches)
    first = next(rest)
    with named_when_whole(path) as aside, aside.open("wb") as file:
        writer(file, first.schema, chain([first], rest))


def _parquet(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _csv(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Lists of strings with "|" between them, as the reader wants them."""
    flat = pa.schema([pa.field(f.name, pa.string() if pa.types.is_list(f.type) else f.type) for f in schema])
    with pyarrow.csv.CSVWriter(file, flat) as writer:
        for batch in batches:
            columns = [pc.binary_join(c, "|") if pa.types.is_list(c.type) else c for c in batch.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=flat))


def _json_lines(file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    encoder = msgspec.json.Encoder()
    for batch in batches:
        file.write(encoder.encode_lines(batch.to_pylist()))


_WRITERS: dict[str, Callable[[BinaryIO, pa.Schema, Iterable[pa.RecordBatch]], None]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _json_lines,
}

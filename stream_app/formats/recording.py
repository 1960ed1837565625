"""Recordings: files of many interactions, in the order in which they are to be replayed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from stream_app.errors import BadInput
from stream_app.events.record import RecordSettings
from stream_app.formats.csv import Csv
from stream_app.formats.decoded import Decoded
from stream_app.formats.jsonlines import JsonLines
from stream_app.formats.parquet import Parquet
from stream_app.formats.segments_file import about
from stream_app.formats.segments_reader import SegmentsFile

AnyRecording = Parquet | Csv | JsonLines
"""Every format a recording may have, told by the file's suffix. To add one: its file, and its name here."""

BATCH_ROWS = 65_536


def rows(path: Path) -> int:
    """How many rows the recording at `path` has, bad ones included. Raises BadInput."""
    return _recording(path).rows()


def read(path: Path, settings: RecordSettings, batch: int = BATCH_ROWS) -> Iterator[Decoded]:
    """The rows of the recording at `path`, at most `batch` at a time; offsets are row numbers.

    Columns are named by the record settings; event times always come from theirs, since a file has no Kafka
    timestamps, and for the same reason there is no clock skew. Raises BadInput, naming the file and the column, when
    it is read.
    """
    if settings.reads_headers():
        raise BadInput(
            path, "a recording has no headers, which the record settings read", "name columns in their place"
        )
    return _recording(path).read(settings, batch)


def is_of_segments(path: Path) -> bool:
    """Whether `asmg record` has written it: then it has more to say than its rows. Raises BadInput."""
    return path.suffix.lower() in SegmentsFile.suffixes and about(path) is not None


def _recording(path: Path) -> AnyRecording | SegmentsFile:
    if is_of_segments(path):
        return SegmentsFile(path)
    for kind in get_args(AnyRecording):
        if path.suffix.lower() in kind.suffixes:
            found: AnyRecording = kind(path)
            return found
    known = ", ".join(suffix for kind in get_args(AnyRecording) for suffix in kind.suffixes)
    raise BadInput(path, f"a recording ends in one of {known}")

"""A process of its own for the tests of the journal: `journal_child.py ingest|hold|full-disk PATH`."""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

from segments_by_hand import Row, segment

from stream_app.errors import StopTheLine
from stream_app.events.periods import EqualCount
from stream_app.events.segment import PartitionSet, SegmentsRecord
from stream_app.pipeline import ingest
from stream_app.store.journal import Journal

FIXED = {"periods.count": 70, "periods.lateness": 0.0}
PERIODS = EqualCount(count=70, lateness=0.0)
SEGMENT_ROWS = 50
SEGMENTS = 60


def stream(segments: int) -> list[SegmentsRecord]:
    """A segments topic: one source partition, times in which three rows each are equal, somewhat out of order."""
    rows = [Row(1000 + (i ^ 5) // 3, i % 11, i % 7, i % 2) for i in range(segments * SEGMENT_ROWS)]
    cuts = range(0, len(rows), SEGMENT_ROWS)
    return [PartitionSet(1), *(segment(0, first, rows[first : first + SEGMENT_ROWS]) for first in cuts)]


def ingest_all(path: Path) -> None:
    """Ingest all segments, saying after each that it is taken."""
    with Journal.open(path, FIXED) as journal:
        for position, record in enumerate(stream(SEGMENTS)):
            ingest(journal, PERIODS, record, position)
            print(position, flush=True)


def hold(path: Path) -> None:
    """Keep the journal open until standard input ends."""
    with Journal.open(path, FIXED):
        print("open", flush=True)
        sys.stdin.read()


def fill_disk(path: Path) -> None:
    """Ingest until the file size limit stops it; say how many records were taken, and the error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal, taken = Journal.open(path, FIXED), 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    try:
        for position, record in enumerate(stream(SEGMENTS)):
            ingest(journal, PERIODS, record, position)
            taken = position + 1
    except StopTheLine as error:
        print(taken, error, flush=True)


if __name__ == "__main__":
    {"ingest": ingest_all, "hold": hold, "full-disk": fill_disk}[sys.argv[1]](Path(sys.argv[2]))

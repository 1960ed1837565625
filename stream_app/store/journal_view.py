"""Reading the journal: closed periods with their rows, and where ingestion stands; also beside the process that writes.

A `JournalView` is a picture taken at opening or at the last `refresh`. It is consistent: rows, marks, position and
periods of one batch are seen together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypedDict

from models.interactions import Interactions
from stream_app.errors import IncompatibleState, StoreCorrupted
from stream_app.events.periods import UpdatePeriod
from stream_app.events.watermark import PartitionMark, slowest
from stream_app.store import layout
from stream_app.store.chunks import Chunk, Span, rows_of
from stream_app.store.database import Database
from stream_app.store.late_outbox import LateRows
from stream_app.store.layout import end_of, number_of, numbered


@dataclass(frozen=True)
class JournalState:
    """What the record `state` holds."""

    position: int = 0
    """Offset in the segments topic of the first record that is not in the journal."""
    partitions: int | None = None
    """How many partitions the source topic has; None before the segments topic said it."""
    chunks: int = 0
    """Number of the next chunk."""
    oldest: int = 0
    """Chunks before this number hold no row of an open period."""
    rows: int = 0
    closed_rows: int = 0
    kept_from: int = 1
    """The rows of periods before this number have been trimmed."""
    user_ids: str = ""
    """Kind of the user ids, "int" or "string"; "" before the first row."""
    item_ids: str = ""
    run: str = ""
    """The name of the run, as the segments topic says it; "" for a first run, which has none."""
    topic_id: str = ""
    """Kafka's id of the source topic; "" where no broker has said it."""
    segments_id: str = ""
    """Kafka's id of the segments topic that `position` is an offset of; "" where no broker has said it."""
    late_values: int = 0
    """Number of the next value of late rows."""


class Said(TypedDict, total=False):
    """What a record of the segments topic says about more than one partition: fields of the state."""

    partitions: int
    topic_id: str
    run: str


@dataclass(frozen=True)
class ClosedPeriod:
    """A closed period as it is stored."""

    period: UpdatePeriod
    first_chunk: int
    end_chunk: int
    """Its rows are in the chunks [first_chunk, end_chunk)."""
    offsets: Mapping[int, int]
    """Next offset of each source partition when it closed."""
    late: int
    """Late rows, of all partitions, until it closed."""
    at: int | None = None
    """Kafka's timestamp (ms) of the segments record with which it closed; None in a replay."""
    dead_lettered: int = 0
    """How many of `late` went to the dead letters."""
    dropped: int = 0
    """How many of `late` were dropped."""


@dataclass(frozen=True)
class OpenPeriod:
    """Why the open period has not closed yet."""

    rows: int
    """Rows that belong to no closed period."""
    watermark: int | None
    """Microseconds that the whole stream has come to, END when all partitions ended, None while one has no rows."""
    held_back_by: tuple[int, ...]
    """The source partitions that are furthest behind."""
    marks: Mapping[int, PartitionMark]
    partitions: int | None


class JournalView:
    """The journal as a reader sees it. Open it with `open`; use it as a context manager or `close` it."""

    KIND = "journal"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._load()

    @classmethod
    def beside(cls, path: Path) -> JournalView | None:
        """Open the journal in directory `path` beside its writer; None while it has not been made yet.

        Raises IncompatibleState, StoreCorrupted.
        """
        database = layout.open_beside(path, cls.KIND)
        return None if database is None else JournalView(database)

    def refresh(self) -> bool:
        """See what has been written since; False when nothing was."""
        if not self._database.refresh():
            return False
        self._load()
        return True

    def close(self) -> None:
        """Give the database back."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that the journal was made with."""
        return layout.fixed_settings(self._database)

    @property
    def position(self) -> int:
        """Offset in the segments topic of the first record that is not in the journal."""
        return self._state.position

    @property
    def partitions(self) -> int | None:
        """How many partitions the source topic has; None before the segments topic said it."""
        return self._state.partitions

    @property
    def run(self) -> str:
        """The name of the run; "" for the first one, or before anything was read."""
        return self._state.run

    @property
    def topic_id(self) -> str:
        """Kafka's id of the source topic; "" if unknown."""
        return self._state.topic_id

    @property
    def segments_id(self) -> str:
        """Kafka's id of the segments topic that has been read; "" if unknown."""
        return self._state.segments_id

    @property
    def marks(self) -> Mapping[int, PartitionMark]:
        """Where each source partition stands."""
        return MappingProxyType(self._marks)

    def mark(self, partition: int) -> PartitionMark:
        """Where a source partition stands; the mark of a new one when it was never seen."""
        return self._marks.get(partition, PartitionMark())

    @property
    def kept_from(self) -> int:
        """The rows of periods before this number have been trimmed."""
        return self._state.kept_from

    @property
    def last_closed(self) -> UpdatePeriod | None:
        """The newest closed period."""
        return self._last

    def open_period(self) -> OpenPeriod:
        """How many rows wait, how far the stream has come, and which partitions hold it back."""
        watermark, behind = slowest(self._marks, self.partitions)
        rows = self._state.rows - self._state.closed_rows
        return OpenPeriod(rows, watermark, behind, self.marks, self.partitions)

    def periods(self, after: int = 0) -> Iterator[ClosedPeriod]:
        """The closed periods with numbers above `after`, in order. Windows without rows have none."""
        for key, value in self._database.scan(numbered(layout.PERIOD, after + 1), end_of(layout.PERIOD)):
            yield _closed_period(self._database.path, key, value)

    def closed_period(self, number: int) -> ClosedPeriod:
        """A closed period with where its rows came from. Raises KeyError when it is not closed."""
        key = numbered(layout.PERIOD, number)
        value = self._database.get(key)
        if value is None:
            raise KeyError(f"period {number} is not closed")
        return _closed_period(self._database.path, key, value)

    def interactions(self, period: UpdatePeriod) -> Interactions:
        """All rows of a closed period, in canonical order: the same whenever and wherever they are read.

        Raises IncompatibleState when they have been trimmed, StoreCorrupted when they are not what was written.
        """
        if period.number < self._state.kept_from:
            raise IncompatibleState(
                f"{self._database.path}: the rows of period {period.number} are no longer kept (from period "
                f"{self._state.kept_from} on they are); move this directory away and start again: "
                "it is read again from the segments topic"
            )
        closed = self.closed_period(period.number)
        chunks = [
            self._chunk(number)
            for number, span in self._spans(closed.first_chunk, closed.end_chunk)
            if span.smallest < period.end and span.largest >= period.start
        ]
        try:
            return rows_of(period, chunks)
        except ValueError as error:
            raise StoreCorrupted(f"{self._database.path}: period {period.number}: {error}") from error

    def late_rows(self, first: int = 0) -> Iterator[tuple[int, LateRows]]:
        """The late rows that wait for the dead-letter topic, by number from `first` on.

        Exhaust or close it before the journal is closed. Raises StoreCorrupted.
        """
        for key, value in self._database.scan(numbered(layout.LATE, first), end_of(layout.LATE)):
            yield number_of(key), LateRows.decode(self._database.path, key, value)

    def _load(self) -> None:
        path = self._database.path
        packed = self._database.get(layout.STATE)
        self._state = JournalState() if packed is None else JournalState(*unpack_list(path, layout.STATE, packed))
        scan = self._database.scan(layout.MARK, end_of(layout.MARK))
        self._marks = {number_of(key): PartitionMark(*unpack_list(path, key, value)) for key, value in scan}
        newest = self._database.last_key(layout.PERIOD, end_of(layout.PERIOD))
        self._last = None if newest is None else self.closed_period(number_of(newest)).period

    def _spans(self, first: int, end: int) -> Iterator[tuple[int, Span]]:
        scan = self._database.scan(numbered(layout.INDEX, first), numbered(layout.INDEX, end))
        for key, value in scan:
            yield number_of(key), Span(*unpack_list(self._database.path, key, value))

    def _chunk(self, number: int) -> Chunk:
        key = numbered(layout.ROWS, number)
        value = self._database.get(key)
        if value is None:
            raise StoreCorrupted(f"{self._database.path}: rows of chunk {number} are gone")
        return Chunk.decode(self._database.path, key, value)


def unpack_list(path: Path, key: bytes, value: bytes) -> list[Any]:
    """The fields of a small record. Raises StoreCorrupted naming database and key."""
    fields = layout.unpack(path, key, value)
    if not isinstance(fields, list):
        raise StoreCorrupted(f"{path}: record {key!r} is not a list of fields")
    return fields


def packed_period(closed: ClosedPeriod) -> bytes:
    """The value of a closed period's record."""
    counts = closed.late, closed.at, closed.dead_lettered, closed.dropped
    return layout.pack([astuple(closed.period), closed.first_chunk, closed.end_chunk, dict(closed.offsets), *counts])


def _closed_period(path: Path, key: bytes, value: bytes) -> ClosedPeriod:
    period, *rest = unpack_list(path, key, value)
    return ClosedPeriod(UpdatePeriod(*period), *rest)

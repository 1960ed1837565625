"""The journal: all that has come in through the segments topic, written by one process, one synced batch at a time.

1. The journal is a pure function of the segments topic. A batch holds rows, where their partitions stand, our position
   in the topic and the periods that closed: after a crash either all of it is there, or none.
2. Rows are written once, as they arrive. A period is a range in their order and closing it writes no rows.
3. Late rows for the dead letters are in the batch that passes them, until `late_sent` says that they are there.
4. What is open is held in memory as well (8 bytes a row) and rebuilt from the chunks at opening.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.interactions import Interactions
from stream_app.errors import IncompatibleState
from stream_app.events.open_rows import OpenRows
from stream_app.events.periods import Periods, UpdatePeriod
from stream_app.events.watermark import LOWEST, PartitionMark
from stream_app.store import layout
from stream_app.store.chunks import Chunk
from stream_app.store.database import Database
from stream_app.store.journal_view import ClosedPeriod, JournalState, JournalView, Said, packed_period
from stream_app.store.late_outbox import LateRows
from stream_app.store.layout import numbered

_TRIM_BATCH = 50_000
"""Chunks; their keys are far below the limit of a batch."""


class Journal(JournalView):
    """The journal as its only writer has it. After an error in `append` it is closed: open it again."""

    open_rows: OpenRows
    """Assigned times of all rows in no closed period."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._open_chunks = dict(self._spans(self._state.oldest, self._state.chunks))
        self.open_rows = self._rebuilt()
        self._categories = bool(self.fixed.get("records.categories"))

    @classmethod
    def open(cls, path: Path, fixed: Mapping[str, Any]) -> Journal:
        """Open the journal in directory `path` for writing, or make it.

        fixed: settings, as JSON values by name, that the periods depend on; a later opening must give the same.
        Raises IncompatibleState (other settings, unknown format; nothing is changed), StoreLocked, StoreCorrupted.
        """
        return cls(layout.create_or_open(path, cls.KIND, fixed))

    @property
    def frontier(self) -> int:
        """The end of the last closed period, in microseconds: no row may be assigned an earlier time."""
        return LOWEST if self._last is None else self._last.end

    def append(
        self,
        periods: Periods,
        watermark: int | None,
        marks: Mapping[int, PartitionMark],
        position: int,
        rows: Chunk | None = None,
        said: Said | None = None,
        at: int | None = None,
        late: LateRows | None = None,
    ) -> list[UpdatePeriod]:
        """Write one batch with the periods that close by it, and return those: all of it is on disk then, or nothing.

        watermark: how far the whole stream has come with this; marks: where the partitions of the rows stand now;
        position: in the segments topic; rows: with their assigned times; said: what else the record says;
        at: Kafka's timestamp (ms) of the record that brings them; late: rows that wait for the dead-letter topic.
        Raises IncompatibleState when the rows' ids are of another kind than those before, or when they have categories
        and the journal was made without (or the other way round): nothing is written.
        """
        user_ids, item_ids = self._kinds(None if rows is None else rows.rows)
        self._kinds(None if late is None else late.rows)
        chunks = dict(enumerate(() if rows is None else rows.split(), self._state.chunks))
        spans = {number: chunk.span for number, chunk in chunks.items()}
        waiting = dict(enumerate(() if late is None else late.split(), self._state.late_values))
        for chunk in chunks.values():
            self.open_rows.add(chunk.assigned)
        closed = self.open_rows.closed_by(periods, watermark, self._last)
        state = replace(
            self._state,
            position=position,
            chunks=self._state.chunks + len(chunks),
            rows=self._state.rows + sum(span.rows for span in spans.values()),
            closed_rows=self._state.closed_rows + sum(period.rows for period in closed),
            user_ids=user_ids,
            item_ids=item_ids,
            late_values=self._state.late_values + len(waiting),
            **(said or Said()),
        )
        puts = {numbered(layout.ROWS, number): chunk.encode() for number, chunk in chunks.items()}
        puts |= {numbered(layout.LATE, number): part.encode() for number, part in waiting.items()}
        for prefix, records in ((layout.INDEX, spans), (layout.MARK, marks)):
            puts |= {numbered(prefix, number): layout.pack(astuple(record)) for number, record in records.items()}
        self._marks |= marks
        self._open_chunks |= spans
        if closed:
            state = replace(state, oldest=self._close(closed, state.chunks, puts, at))
        self._write(state, puts)
        return closed

    def identify(self, segments_id: str) -> None:
        """Note which segments topic the position belongs to."""
        self._write(replace(self._state, segments_id=segments_id), {})

    def late_sent(self, numbers: Sequence[int]) -> None:
        """Forget these of the late rows: the dead-letter topic has them."""
        self._write(self._state, {}, [numbered(layout.LATE, number) for number in numbers])

    def trim(self, before: int) -> None:
        """Forget the rows of periods with numbers below `before`; their records, and the rows of all others, stay."""
        following = next(self.periods(before - 1), None)
        keep_from = self.frontier if following is None else following.period.start
        gone = [
            number
            for number, span in self._spans(0, self._state.chunks)
            if span.largest < keep_from and number not in self._open_chunks
        ]
        state = replace(self._state, kept_from=max(before, self._state.kept_from))
        self._write(state, {})  # first the refusal to read them, then, in any number of batches, the rows
        for first in range(0, len(gone), _TRIM_BATCH):
            numbers = gone[first : first + _TRIM_BATCH]
            self._write(state, {}, [numbered(prefix, n) for n in numbers for prefix in (layout.ROWS, layout.INDEX)])

    def _close(self, closed: Sequence[UpdatePeriod], end_chunk: int, puts: dict[bytes, bytes], at: int | None) -> int:
        """Put the records of `closed`; returns the oldest chunk that still holds a row of an open period."""
        end = closed[-1].end
        first = min((number for number, span in self._open_chunks.items() if span.smallest < end), default=end_chunk)
        offsets = {number: mark.next_offset for number, mark in self._marks.items() if mark.next_offset is not None}
        marks = self._marks.values()
        late, dropped = sum(mark.late for mark in marks), sum(mark.dropped for mark in marks)
        dead_lettered = sum(mark.dead_lettered for mark in marks)
        for period in closed:
            record = ClosedPeriod(period, first, end_chunk, offsets, late, at, dead_lettered, dropped)
            puts[numbered(layout.PERIOD, period.number)] = packed_period(record)
        self._last = closed[-1]
        # Rows of the time at which the last period was cut may be in this period or in the next: `>=`, not `>`.
        self._open_chunks = {n: span for n, span in self._open_chunks.items() if span.largest >= end - 1}
        return min(self._open_chunks, default=end_chunk)

    def _write(self, state: JournalState, puts: Mapping[bytes, bytes], deletes: Sequence[bytes] = ()) -> None:
        try:
            self._database.write({**puts, layout.STATE: layout.pack(astuple(state))}, deletes)
        except BaseException:
            self.close()  # memory is ahead of the disk now: nothing more may be written from it
            raise
        self._state = state

    def _rebuilt(self) -> OpenRows:
        open_rows, last = OpenRows(), self._last
        cut, used = (LOWEST, 0) if last is None else (last.end - 1, last.used)
        for number, span in self._open_chunks.items():
            if span.largest < cut:
                continue
            assigned = self._chunk(number).assigned
            taken = np.flatnonzero(assigned == cut)[:used]  # which of them does not matter: memory holds times only
            used -= len(taken)
            assigned = np.delete(assigned, taken)
            open_rows.add(assigned[assigned >= cut])
        return open_rows

    def _kinds(self, rows: Interactions | None) -> tuple[str, str]:
        """Kinds of ids after `rows`. Raises IncompatibleState when they, or their columns, differ from those before."""
        before = self._state.user_ids, self._state.item_ids
        if rows is None or not len(rows):
            return before
        users, items = ("string" if ids.dtype == object else "int" for ids in (rows.users, rows.items))
        if before not in (("", ""), (users, items)):
            raise IncompatibleState(
                f"{self._database.path}: user and item ids were {before} so far and are {(users, items)} now; "
                "set user_ids and item_ids in [records] back, or begin anew with --new-run"
            )
        if (rows.categories is not None) != self._categories:
            said = ("without", "with") if self._categories else ("with", "without")
            raise IncompatibleState(
                f"{self._database.path}: rows came {said[0]} item categories into a state directory that was made "
                f"{said[1]}; set records.categories alike wherever interactions are read, or begin anew with --new-run"
            )
        return users, items

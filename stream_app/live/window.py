"""The window stage: the segments topic goes into the journal, which decides what is in which update period.

The truth is in the journal: reading starts at the position it holds, and Kafka is told nothing. A stand-by has no
partition, so it does not open the journal; whoever loses the partition closes it before another may open it. What is
noted of that in the directory tells the trainer whether this worker is the active one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from faust.types import TP

from stream_app.errors import StopTheLine
from stream_app.events.periods import Periods
from stream_app.events.segment import Segment, decode
from stream_app.live.late_letters import LateLetters
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.topics import TopicSettings
from stream_app.live.transport import Batch, Known, Offsets
from stream_app.live.trimming import Trimming, WindowSettings
from stream_app.live.why_open import time_text
from stream_app.live.window_status import note_window
from stream_app.pipeline import ingest
from stream_app.store.journal import Journal
from stream_app.store.view import StoreView
from stream_app.telemetry import event

_AT_ONCE = 16  # values of late rows, <= 900 KB each: what is held in memory while they are on their way


class Window:
    """The stage that reads segments and writes the journal.

    directory: the worker's state; fixed: the settings that the journal in it must have been made with; letters: sends
    late rows, None where none wait.
    """

    def __init__(
        self,
        topics: TopicSettings,
        periods: Periods,
        directory: Path,
        fixed: Mapping[str, Any],
        settings: WindowSettings,
        letters: LateLetters | None = None,
    ) -> None:
        self.topic, self._source = topics.segments, topics.interactions
        self.hints: dict[TP, int] = {}
        self._periods, self._directory, self._fixed = periods, directory, fixed
        self._journal: Journal | None = None
        self._trimming = Trimming(settings, directory / STORE)
        self._letters, self._unsent = letters, 0

    async def start(self) -> None:
        """No database is opened before an assignment. Raises KafkaConnectionError."""
        note_window(self._directory, assigned=False)  # what a killed process left there no longer holds
        if self._letters is not None:
            await self._letters.start()

    async def stop(self) -> None:
        """Closes the journal."""
        self.revoked()
        if self._letters is not None:
            await self._letters.stop()

    async def starts(self, known: Mapping[TP, Known]) -> Offsets:
        """The journal's own position. Late rows that a crash left unsent are sent first.

        Raises StopTheLine kinds: the topic no longer holds it, the journal is unfit, or it is lost beyond rebuilding.
        """
        if self._journal is None:
            self._journal, self._unsent = Journal.open(self._directory / JOURNAL, self._fixed), 0
        position = self._journal.position
        for tp, kafka in known.items():
            if position == 0 < kafka.earliest:
                self._check_new(tp, kafka.earliest)
            # A journal that is still empty begins with what there is.
            gone = 0 < position < kafka.earliest
            if gone or position > kafka.end:
                raise StopTheLine(
                    f"the journal has read {tp.topic} up to offset {position}, but the topic holds offsets "
                    f"{kafka.earliest} to {kafka.end}: restore the topic, or start over with --new-run"
                )
        note_window(self._directory, assigned=True)
        await self._send_late()
        return {tp: max(position, kafka.earliest) for tp, kafka in known.items()}

    def _check_new(self, tp: TP, earliest: int) -> None:
        """Raises StopTheLine when a journal that begins in the middle of the topic is not the first of its run."""
        with StoreView.open(self._directory / STORE) as store:
            done = store.last_period
        if done:
            # Its periods would be numbered from 1 again, and the trainer would pass over them as done.
            raise StopTheLine(
                f"{self._directory / JOURNAL} is empty, but the store beside it has learned period {done}, and "
                f"{tp.topic} begins at offset {earliest}: the journal was lost and can no longer be rebuilt; restore "
                "its directory, or begin anew with --new-run"
            )

    async def take(self, batch: Batch) -> None:
        """Takes one segment after the other into the journal, each in one synced batch; then late rows are sent."""
        closed = 0
        for record in batch.records:
            if self._journal is None:
                return  # revoked while at it: whoever reads next goes on from the journal
            closed += self._ingest(self._journal, record)
            # A synced write each: signals, timers and a rebalance must get their turn in between.
            await asyncio.sleep(0)
        if closed and self._journal is not None:
            self._trimming.trim(self._journal)
        await self._send_late()

    def _ingest(self, journal: Journal, record: Any) -> int:
        """Takes one record of the topic; returns how many periods closed with it."""
        said = decode(record.value)
        late = sum(mark.late for mark in journal.marks.values())
        periods = ingest(journal, self._periods, said, record.offset, record.timestamp, self._source)
        if isinstance(said, Segment):
            at = {"partition": said.partition, "first": said.first_offset, "next": said.next_offset}
            late = sum(mark.late for mark in journal.marks.values()) - late
            event("rows-written", "debug", segment=record.offset, **at, rows=len(said.offsets), late=late)
        for period in periods:
            start, end = time_text(period.start), time_text(period.end)
            event("period-closed", period=period.number, rows=period.rows, start=start, end=end, segment=record.offset)
        return len(periods)

    async def _send_late(self) -> None:
        """Late rows that wait go to their topic, and leave the journal once they are there."""
        journal = self._journal
        while self._letters is not None and journal is not None:
            waiting = dict(islice(journal.late_rows(self._unsent), _AT_ONCE))
            if not waiting:
                return
            await self._letters.send(list(waiting.values()))
            if self._journal is not journal:
                return  # revoked meanwhile: whoever opens the journal next sends them again
            journal.late_sent(list(waiting))
            self._unsent = max(waiting) + 1

    def revoked(self) -> None:
        """Closes the journal."""
        if self._journal is not None:
            note_window(self._directory, assigned=False)
            self._journal.close()
            self._journal = None
        self._trimming.close()

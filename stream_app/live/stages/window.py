"""The window stage: the segments topic goes into the journal, which decides what is in which update period.

The truth is in the journal: reading starts at the position it holds, and Kafka is told nothing. A stand-by has no
partition, so it does not open the journal; whoever loses the partition closes it before another may open it. What is
noted of that in the directory tells the trainer whether this worker is the active one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from faust.types import TP

from stream_app.broker import KafkaSettings
from stream_app.errors import StopTheLine, TopicRecreated
from stream_app.events.periods import Periods
from stream_app.events.segment import Segment, decode
from stream_app.live.cluster.topics import TopicSettings
from stream_app.live.seeing.why_open import time_text
from stream_app.live.stages.late_letters import LateLetters
from stream_app.live.stages.topic_watch import WATCH_EVERY, TopicWatch
from stream_app.live.stages.transport import Batch, Known, Offsets
from stream_app.live.stages.trimming import Trimming, WindowSettings
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.training.window_status import note_window
from stream_app.pipeline import ingest
from stream_app.store.journal import Journal
from stream_app.store.journal_view import JournalView
from stream_app.store.view import StoreView
from stream_app.telemetry import event
from stream_app.versions.head import Head

_AT_ONCE = 16  # values of late rows, <= 900 KB each: what is held in memory while they are on their way


class Window:
    """The stage that reads segments and writes the journal.

    directory: the worker's state; fixed: the settings that the journal in it must have been made with; letters: sends
    late rows, None where none wait; head: what the models topic holds.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicSettings,
        periods: Periods,
        directory: Path,
        fixed: Mapping[str, Any],
        settings: WindowSettings,
        letters: LateLetters | None = None,
        head: Callable[[], Head] = Head,
    ) -> None:
        self.topic, self._source = topics.segments, topics.interactions
        self.hints: dict[TP, int] = {}
        self._periods, self._directory, self._fixed = periods, directory, fixed
        self._journal: Journal | None = None
        self._revocations = 0
        self._trimming = Trimming(settings, directory / STORE)
        self._letters, self._unsent = letters, 0
        self._segments, self._head = TopicWatch(kafka, self.topic), head

    async def start(self) -> None:
        """Connects; no database is opened before an assignment.

        Raises KafkaConnectionError, or Unavailable when there is no such topic.
        """
        note_window(self._directory, assigned=False)  # what a killed process left there no longer holds
        await self._segments.start()
        await self._segments.begin()
        if self._letters is not None:
            await self._letters.start()

    async def watch(self) -> None:
        """Notices that the topic is gone or another one."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            await self._segments.check()

    async def stop(self) -> None:
        """Closes the journal and disconnects."""
        self.revoked()
        await self._segments.stop()
        if self._letters is not None:
            await self._letters.stop()

    async def starts(self, known: Mapping[TP, Known]) -> Offsets:
        """Where the journal stands; an empty one begins with its run. Late rows left by a crash are sent first.

        Raises StopTheLine kinds, see `start_of` and `check_history`.
        """
        revocations = self._revocations
        facts = await self._segments.begin()
        await self.check_history(known)
        if self._revocations != revocations:
            return {}  # another worker may have the window by now, and no second revocation would tell us
        starts = {tp: self.start_of(kafka, facts.topic_id) for tp, kafka in known.items()}
        note_window(self._directory, assigned=True)
        await self._send_late()
        return starts

    async def check_history(self, known: Mapping[TP, Known]) -> None:
        """Raises StopTheLine when an empty journal would begin behind the rows that published versions come from."""
        begin = max((kafka.earliest for kafka in known.values() if kafka.committed is None), default=0)
        if begin == 0 or _position(self._directory / JOURNAL):
            return
        head = await asyncio.to_thread(self._head)
        if head.version:
            raise StopTheLine(
                f"{self._directory / JOURNAL} is empty, the models topic is at version {head.version}, and "
                f"{self.topic} begins at offset {begin}: its history can no longer be rebuilt here; use the state "
                "directory of the worker that made it, or begin anew with `asmg worker --new-run`"
            )

    def start_of(self, kafka: Known, topic_id: str) -> int:
        """The offset at which the journal, opened here, goes on. kafka, topic_id: of the segments topic.

        Raises StopTheLine kinds: the topic is another one or no longer holds that offset, the journal is unfit, or it
        is lost beyond rebuilding.
        """
        if self._journal is None:
            self._journal, self._unsent = Journal.open(self._directory / JOURNAL, self._fixed), 0
        journal = self._journal
        start = journal.position or self._begin(kafka)
        if journal.position and topic_id and journal.segments_id not in ("", topic_id):
            raise TopicRecreated(self.topic, f"its id was {journal.segments_id} and is {topic_id}")
        if not kafka.earliest <= start <= kafka.end:
            raise StopTheLine(
                f"the journal goes on at offset {start} of {self.topic}, but the topic holds offsets {kafka.earliest} "
                f"to {kafka.end}: restore the topic, or begin anew with `asmg worker --new-run`"
            )
        if topic_id and topic_id != journal.segments_id:
            journal.identify(topic_id)
        return start

    def _begin(self, kafka: Known) -> int:
        """Where an empty journal begins: at the mark of its run, which is committed, else with what there is.

        Raises StopTheLine when it begins in the middle of the topic and is not the first of its run.
        """
        if kafka.committed is not None:
            return kafka.committed
        with StoreView.open(self._directory / STORE) as store:
            done = store.last_period
        if kafka.earliest and done:
            # Its periods would be numbered from 1 again, and the trainer would pass over them as done.
            raise StopTheLine(
                f"{self._directory / JOURNAL} is empty, but the store beside it has learned period {done}, and "
                f"{self.topic} begins at offset {kafka.earliest}: the journal was lost and can no longer be rebuilt; "
                "restore its directory, or begin anew with `asmg worker --new-run`"
            )
        return kafka.earliest

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
        self._revocations += 1
        if self._journal is not None:
            note_window(self._directory, assigned=False)
            self._journal.close()
            self._journal = None
        self._trimming.close()


def _position(path: Path) -> int:
    journal = JournalView.beside(path)
    if journal is None:
        return 0
    with journal:
        return journal.position

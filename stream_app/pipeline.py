"""The way of an interaction, top to bottom: `ingest`, `update`, `publish`.

Each step is safe to repeat; live and replay only decide when it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stream_app.errors import NewerRun, OffsetGap, TopicRecreated
from stream_app.events.periods import Periods, UpdatePeriod
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.events.watermark import PartitionMark, assign, slowest
from stream_app.store.chunks import Chunk
from stream_app.store.database import BATCH_LIMIT
from stream_app.store.journal import Journal
from stream_app.store.journal_view import ClosedPeriod, JournalView, Said
from stream_app.store.late_outbox import LateRows
from stream_app.store.outbox import Sources, Waiting
from stream_app.telemetry import utc
from stream_app.versions.manifest import Envelope

if TYPE_CHECKING:  # what would load torch into the processes that only ingest
    from models.learner import Outcome
    from models.learner_state import LearnerState
    from stream_app.learning import Learner
    from stream_app.sinks.protocol import VersionSink
    from stream_app.store.states import Store
    from stream_app.versions.model_version import ModelVersion


def ingest(
    journal: Journal,
    periods: Periods,
    record: SegmentsRecord,
    position: int,
    at: int | None = None,
    source: str = "interactions",
) -> list[UpdatePeriod]:
    """Take one record of the segments topic into the journal; returns the periods that closed with it.

    position: the record's offset in that topic; at: its Kafka timestamp (ms), which is only told; source: the name of
    the source topic, for errors. A record that the journal has is passed over, rows that it has are cut.
    Raises OffsetGap, TopicRecreated, NewerRun, IncompatibleState: nothing was written, and the record is to be tried
    again after the remedy.
    """
    if position < journal.position:
        return []
    if isinstance(record, RunMark):
        return _append(journal, periods, {}, position + 1, at, said=_begun(journal, record))
    if isinstance(record, PartitionSet):
        said = _source(journal, record, source)
        return _append(journal, periods, _appeared(journal, record), position + 1, at, said=said)
    if isinstance(record, IdleMark):
        return _append(journal, periods, _idle(journal, record), position + 1, at)
    known = journal.mark(record.partition).next_offset
    fresh = record if known is None else record.after(known)  # repeats are cut; a hole raises OffsetGap
    # What an END mark closes must not depend on what else is in the segment, and a batch has a limit. Our position
    # moves with the last piece: after a crash before that, the offsets cut the pieces that are there.
    *pieces, last = [piece for part in fresh.cut_after_ends() for piece in part.split(BATCH_LIMIT)]
    closed = [period for piece in pieces for period in _take(journal, periods, piece, position, at)]
    return closed + _take(journal, periods, last, position + 1, at)


@dataclass(frozen=True)
class Updated:
    """A period that is done. `version` is None while pretraining; `seconds`: what each stage of it took."""

    period: UpdatePeriod
    state: LearnerState
    outcome: Outcome
    version: ModelVersion | None
    seconds: Mapping[str, float]


def update(
    journal: JournalView,
    store: Store,
    learner: Learner,
    state: LearnerState | None = None,
    stage: Callable[[str], None] = lambda name: None,
    keep: Callable[[Updated], None] = lambda updated: None,
) -> Updated | None:
    """Learn the first closed period that is not done; None when there is none. Its version waits in the outbox.

    state: what the update before returned, which saves reading it back; None takes the store's. stage: told the name
    of each stage as it begins. keep: called before the period is committed, so that what a caller notes of it is never
    behind the store. Killed half-way, nothing of it has happened but the passes of pretraining.
    """
    closed = next(journal.periods(store.last_period), None)
    if closed is None:
        return None
    stages, period = Stages(stage), closed.period
    stages("reading")
    interactions = journal.interactions(period)
    before = state or learner.resume(store, interactions)
    after, outcome = learner.learn(store, before, interactions, period.number, stages)
    stages("storing")
    version = learner.release(store, period, interactions, outcome)
    sources = Sources(closed.offsets, _late(journal, store, closed), closed.at)
    keep(Updated(period, after, outcome, version, stages.seconds()))
    store.commit(period.number, learner.leaves(after), version, sources)
    return Updated(period, after, outcome, version, stages.seconds())


def publish(
    store: Store,
    sink: VersionSink,
    model: str,
    run: str = "",
    times: Callable[[], Mapping[str, str]] = dict,
    told: Callable[[Waiting, float], None] = lambda sent, seconds: None,
) -> list[int]:
    """Hand every waiting version to the sink, in order, none skipped; returns their numbers.

    times: what the envelope says about when it was sent; told: of each version and what it took (seconds), once it is
    there and noted. Raises Unavailable: those sent before are noted, call it again later; StopTheLine: another
    publisher has taken over, or the place holds another version of that number.
    """
    sent = []
    for waiting in store.outbox():
        offsets, late = dict(waiting.sources.offsets), waiting.sources.late
        closed = waiting.sources.closed
        when = {"closed": utc(closed / 1000)} if closed is not None else {}
        envelope = Envelope(model=model, run=run, source_offsets=offsets, late=late, times={**when, **times()})
        begun = time.perf_counter()
        sink.write(waiting.version, envelope)
        store.published(waiting.version.number)
        sent.append(waiting.version.number)
        told(waiting, time.perf_counter() - begun)
    return sent


def _take(journal: Journal, periods: Periods, segment: Segment, position: int, at: int | None) -> list[UpdatePeriod]:
    number, rows, policy = segment.partition, segment.interactions, periods.late
    assigned, late, mark = assign(segment, journal.mark(number), periods.lateness_us, journal.frontier, policy)
    if policy == "next-period" or not late.any():
        return _append(journal, periods, {number: mark}, position, at, Chunk(rows, assigned))
    on_time = Chunk(rows.select(~late), assigned[~late])
    left_out = LateRows.of(segment, late) if policy == "dead-letter" else None
    return _append(journal, periods, {number: mark}, position, at, on_time, late=left_out)


def _append(
    journal: Journal,
    periods: Periods,
    marks: Mapping[int, PartitionMark],
    position: int,
    at: int | None,
    rows: Chunk | None = None,
    said: Said | None = None,
    late: LateRows | None = None,
) -> list[UpdatePeriod]:
    """ONE synced batch: the rows, where their partition stands, our position, and the periods that close with that.

    late: rows that enter no period and wait for the dead-letter topic.
    """
    partitions = journal.partitions if said is None else said.get("partitions", journal.partitions)
    watermark, _ = slowest({**journal.marks, **marks}, partitions)
    return journal.append(periods, watermark, marks, position, rows, said, at, late)


def _begun(journal: Journal, mark: RunMark) -> Said:
    """The name of the run. Raises NewerRun when the journal belongs to another one."""
    if journal.run != mark.run and (journal.run or journal.position):
        raise NewerRun(mark.run, journal.run)
    return Said(run=mark.run)


def _source(journal: Journal, found: PartitionSet, topic: str) -> Said:
    """Which topic the rows come from, and its size. Raises TopicRecreated when that is another one than before."""
    if found.topic_id and journal.topic_id and found.topic_id != journal.topic_id:
        raise TopicRecreated(topic, f"its id was {journal.topic_id} and is {found.topic_id}")
    count = max(found.count, journal.partitions or 0)
    return Said(partitions=count, topic_id=found.topic_id or journal.topic_id)


def _appeared(journal: Journal, found: PartitionSet) -> dict[int, PartitionMark]:
    """The marks of partitions that appeared since: they begin where the whole stream is now.

    A smaller set than before is stale, said by a collector whose broker had not heard of the new partitions: Kafka
    never takes any away, and nothing appeared with it. A topic that was made anew has another id (`_source`).
    """
    watermark, _ = slowest(journal.marks, journal.partitions)
    start = None if watermark == END else watermark  # whatever comes there comes after the end: the frontier holds
    return {n: PartitionMark(watermark=start) for n in range(found.count) if n not in journal.marks}


def _idle(journal: Journal, idle: IdleMark) -> dict[int, PartitionMark]:
    """The mark of a partition that is idle. Raises OffsetGap when rows before its end have never come."""
    mark = journal.mark(idle.partition)
    if mark.next_offset is not None and idle.end_offset > mark.next_offset:
        raise OffsetGap(idle.partition, mark.next_offset, idle.end_offset)
    if mark.quiet or (mark.next_offset is not None and idle.end_offset < mark.next_offset):
        return {}  # it has ended, or rows came after the mark was decided
    return {idle.partition: replace(mark, quiet="idle")}


def _late(journal: JournalView, store: Store, closed: ClosedPeriod) -> int:
    """Rows that came late since the period before closed; the journal counts from the beginning."""
    return closed.late - (journal.closed_period(store.last_period).late if store.last_period else 0)


class Stages:
    """Tells of each stage as it begins and sums the seconds that each takes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._spent, self._name, self._since = tell, dict[str, float](), "", 0.0

    def __call__(self, name: str) -> None:
        self.seconds()
        self._tell(name)
        self._name = name

    def seconds(self) -> dict[str, float]:
        """By stage, up to now."""
        now = time.perf_counter()
        if self._name:
            self._spent[self._name] = self._spent.get(self._name, 0.0) + now - self._since
        self._since = now
        return dict(self._spent)

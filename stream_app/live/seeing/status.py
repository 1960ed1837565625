"""`asmg status`: where everything is, and why the open period has not closed.

It looks at the state directory beside whoever writes there, and at the broker; a worker that is stopped or a broker
that does not answer is part of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from stream_app.events.periods import AnyPeriods
from stream_app.events.record import MICROSECONDS
from stream_app.events.segment import END
from stream_app.events.watermark import PartitionMark
from stream_app.live.alone import there
from stream_app.live.cluster.ends import Ends
from stream_app.live.seeing.broker_look import BrokerLook, GroupLook, look, models_topic, newest_reasons
from stream_app.live.seeing.why_open import time_text, why_open
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.training.trainer_status import TrainerStatus, read_status
from stream_app.live.training.window_status import WindowStatus, read_window
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.journal_view import JournalView
from stream_app.store.view import StoreView
from stream_app.versions.manifest import Envelope

ANSWERS = "answers"


@dataclass(frozen=True)
class TopicStatus:
    """A topic: how many offsets its partitions hold; records, and what transactions need beside them."""

    name: str
    partitions: int
    offsets: int


@dataclass(frozen=True)
class PartitionStatus:
    """A partition of the interactions topic. collected: next offset that the journal lacks; end: of the topic.

    lag: records between the two; None where one of them is not known. watermark: event time, or "ended".
    rows: valid interactions; late: how many of them came late, dead_lettered, dropped: those in no period.
    """

    partition: int
    collected: int | None
    end: int | None
    lag: int | None
    watermark: str | None
    watermark_seconds: float | None
    quiet: str
    rows: int
    late: int
    dead_lettered: int
    dropped: int


@dataclass(frozen=True)
class OpenPeriodStatus:
    """The open period. rows: those in no closed period; why: what it waits for, one reason a line."""

    number: int
    rows: int
    watermark: str | None
    watermark_seconds: float | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class VersionStatus:
    """The last version made, its period, and up to which number and period the topic has them.

    method: whose candidate it is; reason: why that one, None where no choice was made.
    run, epoch: of the version that lies last on the topic; None where it was not read.
    """

    number: int
    digest: str
    period: int | None
    published: int
    published_period: int | None
    method: str | None
    reason: str | None
    run: str | None = None
    epoch: int | None = None


@dataclass(frozen=True)
class Status:
    """Everything that `asmg status` shows. broker: "answers", or why it does not. What is not known is None.

    processes: those of this worker that run. dead_letters: on their topic; reasons: of the newest of them.
    segments_lag: records of the segments topic that the journal lacks. last_closed, last_trained: periods. pinned: the
    version that an operator has pinned; None, too, where the models topic was not read.
    """

    model: str
    worker: str
    processes: tuple[str, ...]
    broker: str
    topics: tuple[TopicStatus, ...]
    groups: tuple[GroupLook, ...]
    partitions: tuple[PartitionStatus, ...]
    segments_lag: int | None
    dead_letters: int | None
    reasons: Mapping[str, int] | None
    window: WindowStatus
    last_closed: int
    last_trained: int
    open_period: OpenPeriodStatus
    trainer: TrainerStatus
    version: VersionStatus | None
    pinned: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For `asmg status --json`."""
        window = {**asdict(self.window), "active": self.window.active}
        return {**asdict(self), "window": window}


def status(settings: WorkerSettings) -> Status:
    """Where everything is now. Raises StopTheLine kinds when the state directory cannot be read."""
    seen = look(settings)
    found = status_of(settings, seen)
    if seen.trouble:
        return found
    newest, control = models_topic(settings)
    version, pin = _sent_by(found.version, newest.envelope if newest else None), control and control.control.pin
    return replace(
        found, reasons=newest_reasons(settings), version=version, pinned=None if pin is None else pin.version
    )


def status_of(settings: WorkerSettings, seen: BrokerLook) -> Status:
    """The same from what the broker has said before; it is not asked, so that this takes some 20 ms.

    Raises StopTheLine kinds when the state directory cannot be read.
    """
    topics, ends, directory = settings.topics, seen.ends, settings.state_directory
    processes = tuple(there(directory))
    with ExitStack() as stack:
        journal = JournalView.beside(directory / JOURNAL)
        if journal is not None:
            stack.enter_context(journal)
        store = stack.enter_context(StoreView.open(directory / STORE))
        return Status(
            model=settings.model,
            worker="running" if processes else "stopped",
            processes=processes,
            broker=seen.trouble or ANSWERS,
            topics=tuple(TopicStatus(name, len(held), _count(held)) for name, held in ends.items()),
            groups=seen.groups,
            partitions=_partitions(journal, ends.get(topics.interactions)),
            segments_lag=_lag(ends.get(topics.segments), journal),
            dead_letters=_count(ends[topics.dead_letters]) if ends else None,
            reasons=None,
            window=read_window(directory),
            last_closed=journal.last_closed.number if journal and journal.last_closed else 0,
            last_trained=store.last_period,
            open_period=_open_period(journal, settings.periods),
            trainer=read_status(directory),
            version=_version(store),
        )


def _lag(segments: Ends | None, journal: JournalView | None) -> int | None:
    """What the broker said may be older than the journal."""
    return None if segments is None else max(0, segments[0].end - (journal.position if journal else 0))


def _partitions(journal: JournalView | None, ends: Ends | None) -> tuple[PartitionStatus, ...]:
    marks: Mapping[int, PartitionMark] = journal.marks if journal else {}
    found = []
    for number in sorted({*marks, *range((journal and journal.partitions) or 0), *(ends or {})}):
        mark, range_ = marks.get(number, PartitionMark()), (ends or {}).get(number)
        read_to = mark.next_offset if mark.next_offset is not None else range_.earliest if range_ else None
        lag = max(0, range_.end - read_to) if range_ and read_to is not None else None
        text, seconds = _watermark(END if mark.quiet == "ended" else mark.watermark)
        end = range_.end if range_ else None
        rows = mark.rows, mark.late, mark.dead_lettered, mark.dropped
        found.append(PartitionStatus(number, mark.next_offset, end, lag, text, seconds, mark.quiet, *rows))
    return tuple(found)


def _open_period(journal: JournalView | None, periods: AnyPeriods) -> OpenPeriodStatus:
    if journal is None:
        return OpenPeriodStatus(1, 0, None, None, ("nothing has come in yet: there is no journal",))
    found, last = journal.open_period(), journal.last_closed
    number = last.number + 1 if last else 1
    return OpenPeriodStatus(number, found.rows, *_watermark(found.watermark), why_open(found, periods))


def _watermark(microseconds: int | None) -> tuple[str | None, float | None]:
    if microseconds == END:
        return "ended", None
    return time_text(microseconds), None if microseconds is None else microseconds / MICROSECONDS


def _version(store: StoreView) -> VersionStatus | None:
    head = store.head()
    if head is None:
        return None
    kept = {entry.number: entry.content for entry in store.versions()}
    periods = {number: content.period.number for number, content in kept.items()}
    published, last = store.last_published, kept.get(head[0])
    return VersionStatus(
        *head,
        periods.get(head[0]),
        published,
        periods.get(published),
        _text(last.learning.get("method") if last else None),
        _text(last.decisions.get("reason") if last else None),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _sent_by(version: VersionStatus | None, envelope: Envelope | None) -> VersionStatus | None:
    return replace(version, run=envelope.run, epoch=envelope.epoch) if version and envelope else version


def _count(ends: Ends) -> int:
    return sum(range_.end - range_.earliest for range_ in ends.values())

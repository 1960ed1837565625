"""`asmg status`: where everything is, and why the open period has not closed.

It looks at the state directory beside whoever writes there, and at the ends of the topics; a worker that is stopped or
a broker that does not answer is part of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from stream_app.errors import AccessDenied, Unavailable
from stream_app.events.periods import AnyPeriods
from stream_app.events.segment import END
from stream_app.events.watermark import PartitionMark
from stream_app.live.ends import Ends, ends_of
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.trainer_status import TrainerStatus, read_status
from stream_app.live.why_open import time_text, why_open
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.journal_view import JournalView
from stream_app.store.view import StoreView


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
    why: tuple[str, ...]


@dataclass(frozen=True)
class VersionStatus:
    """The last version made, and up to which number the topic has them."""

    number: int
    digest: str
    published: int


@dataclass(frozen=True)
class Status:
    """Everything that `asmg status` shows. broker: "answers", or why it does not; dead_letters: on their topic.

    segments_lag: records of the segments topic that the journal lacks. What is not known is None.
    """

    model: str
    worker: str
    broker: str
    partitions: tuple[PartitionStatus, ...]
    segments_lag: int | None
    dead_letters: int | None
    last_closed: int
    open_period: OpenPeriodStatus
    trainer: TrainerStatus
    version: VersionStatus | None

    def as_json(self) -> dict[str, Any]:
        """For `asmg status --json`."""
        return asdict(self)


def status(settings: WorkerSettings) -> Status:
    """Where everything is now. Raises StopTheLine kinds when the state directory cannot be read."""
    topics, ends, broker = settings.topics, dict[str, Ends](), "answers"
    try:
        ends = ends_of(settings.kafka, (topics.interactions, topics.segments, topics.dead_letters))
    except (AccessDenied, Unavailable) as error:
        broker = str(error)
    trainer = read_status(settings.state_directory)
    with ExitStack() as stack:
        journal = JournalView.beside(settings.state_directory / JOURNAL)
        if journal is not None:
            stack.enter_context(journal)
        store = stack.enter_context(StoreView.open(settings.state_directory / STORE))
        segments = ends.get(topics.segments)
        return Status(
            model=settings.model,
            worker="running" if trainer.running else "stopped",
            broker=broker,
            partitions=_partitions(journal, ends.get(topics.interactions)),
            segments_lag=None if segments is None else segments[0].end - (journal.position if journal else 0),
            dead_letters=_count(ends.get(topics.dead_letters)),
            last_closed=journal.last_closed.number if journal and journal.last_closed else 0,
            open_period=_open_period(journal, settings.periods),
            trainer=trainer,
            version=_version(store),
        )


def _partitions(journal: JournalView | None, ends: Ends | None) -> tuple[PartitionStatus, ...]:
    marks: Mapping[int, PartitionMark] = journal.marks if journal else {}
    found = []
    for number in sorted({*marks, *range((journal and journal.partitions) or 0), *(ends or {})}):
        mark, range_ = marks.get(number, PartitionMark()), (ends or {}).get(number)
        read_to = mark.next_offset if mark.next_offset is not None else range_.earliest if range_ else None
        lag = range_.end - read_to if range_ and read_to is not None else None
        watermark = "ended" if mark.quiet == "ended" else time_text(mark.watermark)
        end = range_.end if range_ else None
        rows = mark.rows, mark.late, mark.dead_lettered, mark.dropped
        found.append(PartitionStatus(number, mark.next_offset, end, lag, watermark, mark.quiet, *rows))
    return tuple(found)


def _open_period(journal: JournalView | None, periods: AnyPeriods) -> OpenPeriodStatus:
    if journal is None:
        return OpenPeriodStatus(1, 0, None, ("nothing has come in yet: there is no journal",))
    found, last = journal.open_period(), journal.last_closed
    watermark = "ended" if found.watermark == END else time_text(found.watermark)
    return OpenPeriodStatus(last.number + 1 if last else 1, found.rows, watermark, why_open(found, periods))


def _version(store: StoreView) -> VersionStatus | None:
    head = store.head()
    return VersionStatus(head[0], head[1], store.last_published) if head else None


def _count(ends: Ends | None) -> int | None:
    return None if ends is None else sum(range_.end - range_.earliest for range_ in ends.values())

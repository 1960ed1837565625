"""The other driver of the pipeline: recording -> journal -> learner -> versions in a directory; no Kafka, no clock.

1. The same recording and settings give the same bytes of every version, in one go or killed and resumed at any moment.
2. Resuming is running again: what is in the output directory is kept, what is not done is done.
3. Another recording or another setting on an existing output directory is refused, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.learning import LearningSettings, machine_class
from models.pretraining import Pretraining
from stream_app.errors import on_disk
from stream_app.events.periods import AnyPeriods, EqualCount
from stream_app.events.record import RecordSettings
from stream_app.fixed import fixed_for_journal, fixed_for_store
from stream_app.learning import Learner, prepare
from stream_app.pipeline import Updated, ingest, publish, update
from stream_app.replay.dead_letters import DeadLetters, late_letters
from stream_app.replay.recording import DIGEST, Recording, digest_of, records_of
from stream_app.replay.report import Rest, write_report
from stream_app.replay.result_log import ResultLog
from stream_app.replay.results import PeriodResult
from stream_app.sinks.directory import DirectorySink
from stream_app.store.journal import Journal
from stream_app.store.states import Store

JOURNAL, STORE, VERSIONS = "journal", "store", "versions"
RESULTS, REPORT, PICTURE, DEAD_LETTERS = "periods.jsonl", "report.json", "metrics.png", "dead-letters.jsonl"


@dataclass(frozen=True)
class ReplaySettings:
    """The sections that a replay needs: how rows are read, how they are cut into periods, how is learned from them."""

    model: str = "default"
    records: RecordSettings = field(default_factory=RecordSettings)
    periods: AnyPeriods = field(default_factory=lambda: EqualCount(count=10_000))
    learning: LearningSettings = field(default_factory=LearningSettings)


def replay(
    recording: Recording | str,
    settings: ReplaySettings,
    out: Path | None = None,
    stage: Callable[[str], None] = lambda name: None,
) -> Iterator[PeriodResult]:
    """Replay a recording (a file by its path, or interactions in batches); yields the result of every period, in order.

    out: where journal, store, versions, report and picture go (default: "<recording's name>-replay"); the periods that
    are done there already come first, as they were. stage: told what is going on. It sets this process's torch
    threads and floating-point mode. Raises BadInput, SettingsError (no such device), StopTheLine kinds.
    """
    recording = Path(recording) if isinstance(recording, str) else recording
    out = out or default_out(recording)
    digest = digest_of(recording, settings.records)  # first of all: a file that cannot be read leaves nothing behind
    fixed = fixed_for_journal(settings.records, settings.periods) | {DIGEST: digest}
    prepare(settings.learning)
    with on_disk(out), ExitStack() as stack:
        journal = stack.enter_context(closing(Journal.open(out / JOURNAL, fixed)))
        run = _Run(journal, settings, out, stack, stage)
        yield from run.resumed()
        letters = stack.enter_context(closing(DeadLetters(out / DEAD_LETTERS)))
        for position, record in enumerate(records_of(recording, settings.records, letters.put)):
            ingest(journal, settings.periods, record, position)
            yield from run.updates()
        bad_rows = letters.rows
        for late in late_letters(journal, settings.records):
            letters.put(late)
        run.report(recording.name if isinstance(recording, Path) else out.name, bad_rows)


def default_out(recording: Recording) -> Path:
    """Beside nothing, in the current directory: named after the recording."""
    return Path(f"{recording.stem if isinstance(recording, Path) else 'stream'}-replay")


class _Run:
    """The trainer's side of a replay: what is open, and the results so far."""

    def __init__(
        self, journal: Journal, settings: ReplaySettings, out: Path, stack: ExitStack, stage: Callable[[str], None]
    ) -> None:
        self._journal, self._settings, self._out, self._stage = journal, settings, out, stage
        fixed = fixed_for_store(settings.records, settings.periods, settings.learning)
        self._store = stack.enter_context(closing(Store.open(out / STORE, fixed, keep=settings.learning.window + 1)))
        self._sink = DirectorySink(out / VERSIONS, settings.model)
        self._sink.open()
        self._log = stack.enter_context(closing(ResultLog(out / RESULTS, PeriodResult)))
        self._learner = Learner(settings.learning, self._passed)
        self._last: Updated | None = None
        self._done = self._log.done(self._store.last_period, (c.period.number for c in journal.periods()))

    def resumed(self) -> Iterator[PeriodResult]:
        """What was done before; hands over what was still waiting in the outbox."""
        publish(self._store, self._sink, self._settings.model)
        yield from self._done

    def updates(self) -> Iterator[PeriodResult]:
        """Learn and publish every closed period that is not done."""
        state = self._last.state if self._last else None
        while updated := update(self._journal, self._store, self._learner, state, self._stage, self._keep):
            state, self._last = updated.state, updated
            publish(self._store, self._sink, self._settings.model)
            result = PeriodResult.of(updated)
            self._log.put(result)  # once more, now with the seconds of storing
            self._done.append(result)
            yield result

    def report(self, name: str, bad_rows: int) -> None:
        """Write report and picture."""
        from stream_app.replay.picture import draw  # matplotlib takes as long to load as a short replay takes

        settings, journal = self._settings, self._journal
        marks = journal.marks.values()
        rest = Rest(
            late_rows=sum(mark.late for mark in marks),
            dead_lettered_rows=sum(mark.dead_lettered for mark in marks),
            dropped_rows=sum(mark.dropped for mark in marks),
            bad_rows=bad_rows,
            open_rows=journal.open_period().rows,
        )
        sections = asdict(settings) | {"recording": name}
        write_report(self._out / REPORT, sections, machine_class(settings.learning), self._done, rest)
        draw(self._out / PICTURE, f"{name}: before training on each period", self._done)

    def _keep(self, updated: Updated) -> None:
        self._log.put(PeriodResult.of(updated))

    def _passed(self, passes: Pretraining) -> None:
        learning = self._settings.learning
        start, done = passes.initialisation + 1, passes.passes
        self._stage(f"pretraining: start {start}/{learning.initialisations}, pass {done}/{learning.passes}")

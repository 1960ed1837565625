"""`asmg backtest`, top to bottom: the journal once, the jobs that are left, the report.

1. The same recording and settings give the same report but for seconds, in one go or killed and resumed at any moment.
2. Resuming is running again: a finished seed is never done again, an unfinished one goes on where its state was kept.
3. Another recording or another setting on an existing output directory is refused, by name; so is a second process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

from stream_app.backtest.job import PRETRAINING, At, clear, finished
from stream_app.backtest.jobs import run_jobs
from stream_app.backtest.report import report_of, table_of
from stream_app.backtest.study import DEAD_LETTERS, PAGE, REPORT, TABLE, Study, write_whole
from stream_app.backtest.time_left import TimeLeft, spoken
from stream_app.backtest.truth import check_truth, floor_of
from stream_app.errors import SettingsError, StopTheLine, on_disk
from stream_app.events.segment import END
from stream_app.formats.recording import rows
from stream_app.learning import check_device
from stream_app.pipeline import ingest
from stream_app.replay.dead_letters import DeadLetters, late_letters
from stream_app.replay.recording import digest_of, records_of
from stream_app.store.journal import Journal

Told = Callable[[int, int, str], None]
Say = Callable[[str], None]


def backtest(
    study: Study,
    command: Sequence[str],
    at_once: int,
    told: Told = lambda done, steps, doing: None,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Run what is left of a study and return its report, which is also written.

    command: a command line that becomes a job's when "--job SEED" is added to it; at_once: jobs at a time. told: steps
    done, steps in all, and what is being done; say: given lines that are worth keeping. Raises BadInput, SettingsError,
    StopTheLine kinds, JobFailed.
    """
    digest = digest_of(study.recording, study.settings.records)  # a file that cannot be read leaves nothing behind
    check_device(study.settings.learning)
    check_truth(study)
    with on_disk(study.out), closing(Journal.open(study.journal, study.fixed(digest))) as journal:
        told(0, 0, "reading the recording")
        build(journal, study)
        periods, floor = _checked(journal, study), floor_of(study, journal)
        runs = {seed: run for seed in study.seeds if (run := finished(study, seed)) is not None}
        for seed in runs:
            clear(study, seed)
        left = [seed for seed in study.seeds if seed not in runs]
        if runs:
            say(f"finished before: seed {', '.join(map(str, runs))}")
        heard = _Heard(left, study, periods, at_once, told, say)
        run_jobs(command, left, at_once, _variables(study), heard)
        told(*heard.steps, "writing the report")
        runs |= {seed: _run_of(study, seed) for seed in left}
        found = [runs[seed] for seed in study.seeds]
        return _written(study.out, report_of(study, found, rows(study.recording), digest, floor))


def build(journal: Journal, study: Study) -> None:
    """Take the recording into the journal, if it is not all there."""
    if journal.open_period().watermark == END:
        return
    settings = study.settings
    with closing(DeadLetters(study.out / DEAD_LETTERS)) as letters:
        for position, record in enumerate(records_of(study.recording, settings.records, letters.put)):
            ingest(journal, settings.periods, record, position)
        for late in late_letters(journal, settings.records):
            letters.put(late)


def _checked(journal: Journal, study: Study) -> int:
    """How many periods there are. Raises SettingsError when pretraining leaves none of them to be scored."""
    periods, pretrain = sum(1 for _ in journal.periods()), study.settings.learning.pretrain
    if periods <= pretrain:
        raise SettingsError(
            "learning.pretrain",
            f"pretraining takes {pretrain} periods, and {study.recording} fills {periods}: none is left to be scored",
            "cut shorter periods (--periods, --period-length), or lower --pretrain (at least 2)",
        )
    return periods


def _run_of(study: Study, seed: int) -> dict[str, Any]:
    run = finished(study, seed)
    if run is None:
        raise StopTheLine(f"seed {seed}: its job ended well and left no run in {study.directory(seed)}; start again")
    return run


def _variables(study: Study) -> dict[str, str]:
    """A library that reads it when it is loaded must not take all cores in each of the processes."""
    return {"OMP_NUM_THREADS": str(study.settings.learning.threads)}


class _Heard:
    """Puts together what all jobs say."""

    def __init__(self, left: Sequence[int], study: Study, periods: int, at_once: int, told: Told, say: Say) -> None:
        learning = study.settings.learning
        self._passes, self._periods = learning.initialisations * learning.passes, periods
        self._time_left = TimeLeft(left, self._passes, periods, learning.pretrain, at_once)
        self._doing: dict[int, str] = {}
        self._told, self._say = told, say
        told(*self.steps, "starting")

    @property
    def steps(self) -> tuple[int, int]:
        """Passes and periods of all jobs: how many are done, and how many there are."""
        return self._time_left.steps

    def __call__(self, seed: int, at: At | None) -> None:
        """A job stands there, or is finished (None)."""
        if at is None:
            self._doing.pop(seed, None)
            remaining = spoken(self._time_left.seconds()) if self._doing else ""
            self._say("; ".join(filter(None, [f"seed {seed} is finished", remaining])))
            return
        self._doing[seed] = f"seed {seed}: {self._where(at)}"
        self._time_left.told(seed, at, monotonic())
        remaining = spoken(self._time_left.seconds())
        self._told(*self.steps, "; ".join(filter(None, [remaining, *self._doing.values()])))

    def _where(self, at: At) -> str:
        if at.doing == PRETRAINING:
            return f"{PRETRAINING}, pass {at.passes}/{self._passes}"
        return f"period {min(at.periods + 1, self._periods)}/{self._periods}, {at.doing}"


def _written(out: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """The report as whoever reads its file has it."""
    from stream_app.backtest.html import write_html  # matplotlib takes as long to load as a job of a small stream

    text = json.dumps(report, indent=1, allow_nan=False)
    write_whole(out / TABLE, table_of(report))
    write_whole(out / REPORT, f"{text}\n")
    written: dict[str, Any] = json.loads(text)
    write_html(out / PAGE, written)
    return written

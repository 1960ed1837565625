"""One job: one seed's learner over all periods of the journal, killed and resumed at any moment with the same numbers.

Rules:
1. A result is on disk before the state that has seen its period. Of results without such a state nothing is believed.
2. States are kept every 30 s, and after every pass of pretraining: a kill costs no more than that.
3. A finished seed is one file, `run.json`; what it was made with is removed then.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from models.learner_state import LearnerState
from models.pretraining import Pretraining
from models.ranking import Ranking, rankings
from stream_app.backtest.period_scores import PeriodScores
from stream_app.backtest.study import LOCK, LOG, RUN, STORE, Study, write_whole
from stream_app.errors import StoreCorrupted, on_disk
from stream_app.learning import Learner, prepare
from stream_app.live.alone import alone
from stream_app.pipeline import Stages
from stream_app.replay.recording import DIGEST
from stream_app.replay.result_log import ResultLog
from stream_app.store.database import Database
from stream_app.store.journal_view import ClosedPeriod, JournalView
from stream_app.store.layout import check_fixed, fixed_settings, open_beside
from stream_app.store.states import Store

SAVE_EVERY = 30.0
"""Seconds."""
PRETRAINING = "pretraining"
"""What a job does while it passes over the first periods."""


@dataclass(frozen=True)
class At:
    """Where a job stands: passes of pretraining and periods that are done, and what it does now."""

    passes: int
    periods: int
    doing: str


Told = Callable[[At], None]


def run_seed(study: Study, seed: int, told: Told = lambda at: None, save_every: float = SAVE_EVERY) -> None:
    """Do what is left to be done of one seed. The journal of the study is complete.

    told: where it stands, whenever that changes. Sets this process's torch threads and floating-point mode.
    Raises IncompatibleState (the settings are not those of the study's directory), and other StopTheLine kinds.
    """
    learning, directory = study.learning(seed), study.directory(seed)
    prepare(learning)
    with on_disk(directory), alone(directory, LOCK), ExitStack() as stack:
        if finished(study, seed) is not None:
            return
        journal = stack.enter_context(_journal(study))
        fixed = journal.fixed | {"learning.seed": seed}
        store = stack.enter_context(closing(Store.open(directory / STORE, fixed, keep=1)))
        log = stack.enter_context(closing(ResultLog(directory / LOG, PeriodScores)))
        _Job(study, seed, journal, store, log, told, save_every).run()
        store.close()
        clear(study, seed)


def clear(study: Study, seed: int) -> None:
    """Remove what a finished seed was made with, if it is still there: its job may have been killed before it did."""
    shutil.rmtree(study.directory(seed) / STORE, ignore_errors=True)


def finished(study: Study, seed: int) -> dict[str, Any] | None:
    """The run of a finished seed as report.json has it; None while it is not finished. Raises StoreCorrupted."""
    path = study.directory(seed) / RUN
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"seed": int(found["seed"]), "periods": [asdict(PeriodScores(**one)) for one in found["periods"]]}
    except (ValueError, TypeError, KeyError) as error:
        raise StoreCorrupted(f"{path}: {error}", "remove it, then its seed is run again") from error


def _journal(study: Study) -> JournalView:
    """Raises IncompatibleState when the study's settings are not those that it was built with."""
    database = open_beside(study.journal, JournalView.KIND)
    if database is None:
        raise StoreCorrupted(f"{study.journal}: there is no journal", "start the backtest again")
    with closing(database):
        check_fixed(database, study.fixed(fixed_settings(database)[DIGEST]))
    return JournalView(Database.open(study.journal, read_only=True))


class _Job:
    """A seed's learner, its store and its log."""

    def __init__(
        self,
        study: Study,
        seed: int,
        journal: JournalView,
        store: Store,
        log: ResultLog[PeriodScores],
        told: Told,
        save_every: float,
    ) -> None:
        self._study, self._seed, self._journal, self._store, self._log = study, seed, journal, store, log
        self._told, self._save_every, self._saved = told, save_every, monotonic()
        self._learning = study.learning(seed)
        self._learner = Learner(self._learning, self._passed)
        self._closed = list(journal.periods())
        self._done = sum(closed.period.number <= store.last_period for closed in self._closed)
        self._passes = self._all_passes if self._done >= self._learning.pretrain else 0

    def run(self) -> None:
        """Every period that is not done, then the file of the whole run."""
        self._tell("starts")
        state: LearnerState | None = None
        for closed in self._closed[self._done :]:
            state = self._learn(closed, state)
        numbers = [closed.period.number for closed in self._closed]
        periods = [asdict(result) for result in self._log.done(numbers[-1], numbers)]
        run = {"seed": self._seed, "periods": periods}
        write_whole(self._study.directory(self._seed) / RUN, json.dumps(run, allow_nan=False) + "\n")

    def _learn(self, closed: ClosedPeriod, state: LearnerState | None) -> LearnerState:
        """Test, then train on one period."""
        stages, number = Stages(self._tell), closed.period.number
        stages("reading")
        interactions = self._journal.interactions(closed.period)
        before = state or self._learner.resume(self._store, interactions)
        after, outcome = self._learner.learn(self._store, before, interactions, number, stages)
        ranked: Mapping[str, Ranking] = {}
        if self._study.ranking is not None:
            stages("ranking")
            ranked = rankings(before, after, number, self._learning, self._study.ranking)
        self._log.put(PeriodScores.of(before, after, interactions, outcome, ranked, stages.seconds()))
        # With the end of pretraining too: its checkpoint, which is large, would be read again in every period.
        now = closed is self._closed[-1] or after.learned == self._learning.pretrain
        if now or monotonic() - self._saved >= self._save_every:
            stages("storing")
            self._store.commit(number, self._learner.leaves(after))
            self._saved = monotonic()
        self._done += 1
        self._tell("next period")
        return after

    @property
    def _all_passes(self) -> int:
        return self._learning.initialisations * self._learning.passes

    def _passed(self, passes: Pretraining) -> None:
        self._passes = passes.initialisation * self._learning.passes + passes.passes
        self._tell(PRETRAINING)

    def _tell(self, doing: str) -> None:
        self._told(At(self._passes, self._done, doing))

"""The learner in memory: no journal, no store, no versions. Its numbers are those of a replay, with the time of each
stage; proofs that compare methods over several seeds take it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np
import pyarrow.parquet as parquet

from benchmarks.machine import recordings
from models.interactions import Interactions
from models.learner import Observer, Outcome, learn
from models.learner_state import LearnerState
from models.learning import LearningSettings, prepare_process

PERIODS = 31
LAST = 7
"""Periods of equal size, and those at the end whose mean is reported, as in the paper."""
METRICS = ("auc", "log_loss", "auc_seen_items", "log_loss_seen_items")


@dataclass(frozen=True)
class Stream:
    """A real recording, or its first rows. negatives: drawn per positive (0 for explicit labels)."""

    name: str
    negatives: int
    rows: int | None = None

    def periods(self) -> list[Interactions]:
        """Its interactions in canonical order, cut as `asmg replay --periods 31` cuts them."""
        table = parquet.read_table(recordings() / f"{self.name}.parquet").slice(0, self.rows)
        times = table["timestamp"].to_numpy().astype(np.int64) * 1_000_000
        labels = table["label"].to_numpy().astype(np.float32)
        whole = Interactions(table["user_id"].to_numpy(), table["item_id"].to_numpy(), times, labels).canonical()
        count = len(whole) // PERIODS
        return [whole.select(slice(start, start + count)) for start in range(0, count * PERIODS, count)]


STREAMS = (Stream("movietweetings_100k", 0), Stream("yelp2019", 1), Stream("globo", 1, 600_000))


@dataclass(frozen=True)
class Learned:
    """A period that was learned. seconds: of each stage by its name."""

    interactions: Interactions
    state: LearnerState
    outcome: Outcome
    seconds: Mapping[str, float]


@dataclass
class Stopwatch:
    """Told of each stage as it begins."""

    seconds: dict[str, float] = field(default_factory=dict)
    running: tuple[str, float] | None = None

    def __call__(self, stage: str) -> None:
        """End the stage that runs, begin this one."""
        now = time.perf_counter()
        if self.running:
            name, begun = self.running
            self.seconds[name] = self.seconds.get(name, 0.0) + now - begun
        self.running = (stage, now)


def learned(periods: Sequence[Interactions], settings: LearningSettings) -> Iterator[Learned]:
    """Test, then train on one period after the other."""
    prepare_process(settings)
    state = LearnerState.start()
    for number, interactions in enumerate(periods, 1):
        watch = Stopwatch()
        state, outcome = learn(state, interactions, number, settings, Observer(watch))
        watch("")
        yield Learned(interactions, state, outcome, watch.seconds)


def last_means(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Per method the mean of each metric over the last 7 periods."""
    last = [outcome.scores for outcome in outcomes[-LAST:]]
    return {
        name: {metric: fmean(getattr(scores[name], metric) for scores in last) for metric in METRICS}
        for name in last[-1]
    }

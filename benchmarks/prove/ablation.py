"""Where the gain of row statistics comes from: what is left of it when something is taken away.

Against `iu` on the same seed, mean of the last 7 of 31 periods: the real method; the same φ as inputs of the base
model's own MLP (`iu+statistics`, which trains a base of its own); the statistics of other rows (`shuffled`); nothing
but whether a row was ever met (`newness`); statistics one period old (`delayed`). All but
`iu+statistics` share the base of `iu`.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

from benchmarks import statistics_as_inputs
from benchmarks.in_memory import LAST, METRICS, STREAMS, Stream, last_means, learned
from benchmarks.other_statistics import Delayed, Newness, Shuffled
from models.learning import LearningSettings
from models.update_methods.iu import Iu
from models.update_methods.row_statistics import RowStatistics

SEEDS = (0, 1, 2)
METHODS = (Iu(), RowStatistics(), Shuffled(), Newness(), Delayed())


def run() -> dict[str, Any]:
    """Two streams: one with explicit labels, one with drawn negatives."""
    runs: dict[str, list[dict[str, Any]]] = {stream.name: [] for stream in STREAMS[:2]}
    for seed in SEEDS:
        for stream in STREAMS[:2]:
            runs[stream.name].append(one(stream, seed))
            print(stream.name, runs[stream.name][-1], flush=True)
    return {"runs": runs, "gain": {name: gains(seeds) for name, seeds in runs.items()}, "bounds": {}}


def one(stream: Stream, seed: int) -> dict[str, Any]:
    """Means by method."""
    periods = stream.periods()
    settings = LearningSettings(negatives=stream.negatives, seed=seed, methods=METHODS, serve="iu", device="cpu")
    means = last_means([done.outcome for done in learned(periods, settings)])
    last = statistics_as_inputs.scores(periods, settings)[-LAST:]
    means["iu+statistics"] = {metric: fmean(getattr(score, metric) for score in last) for metric in METRICS}
    return {"seed": seed, "means": means}


def gains(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean over the seeds of what each variant has more than `iu`."""
    return {
        name: {
            metric: round(fmean(one["means"][name][metric] - one["means"]["iu"][metric] for one in runs), 5)
            for metric in METRICS
        }
        for name in runs[0]["means"]
    }

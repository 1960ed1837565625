"""What the runs of all seeds say in sum, by method: metrics, paired gains over `iu`, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import numpy as np

from models.selection import AUTO
from stream_app.backtest.gains import Table, gain
from stream_app.replay.results import METRICS

PLAIN = "iu"
"""What gains are gains over."""

Run = Mapping[str, Any]
"""An entry of "runs" in report.json."""


def methods_of(runs: Sequence[Run]) -> list[str]:
    """The names of what was scored, `iu` first."""
    names = dict.fromkeys(name for run in runs for period in run["periods"] for name in period["scores"])
    return [PLAIN, *(name for name in names if name != PLAIN)]


def summary(runs: Sequence[Run], last: int) -> dict[str, dict[str, Any]]:
    """By method: "metrics", "gain" (None for iu), "seconds_per_period", "times_iu", over the `last` scored periods.

    The mean over seeds of each seed's mean over periods; a metric that is defined nowhere is None.
    """
    methods, metrics = methods_of(runs), _metrics(runs)
    costs = {method: _seconds(method, methods, runs, last) for method in methods}
    return {
        method: {
            "metrics": {metric: _mean(_table(runs, method, metric, last)) for metric in metrics},
            "gain": None if method == PLAIN else _gains(runs, method, metrics, last),
            "seconds_per_period": costs[method],
            "times_iu": costs[method] / costs[PLAIN] if costs[PLAIN] else None,
        }
        for method in methods
    }


def scored(run: Run) -> list[Mapping[str, Any]]:
    """The periods of a run that have scores, oldest first."""
    return [period for period in run["periods"] if period["scores"]]


def _metrics(runs: Sequence[Run]) -> list[str]:
    scores = [score for run in runs for period in run["periods"] for score in period["scores"].values()]
    found = {metric for score in scores for metric in score}
    known = [metric for metric in METRICS if metric in found]
    return known + sorted(found.difference(known))


def _gains(runs: Sequence[Run], method: str, metrics: Sequence[str], last: int) -> dict[str, dict[str, float | None]]:
    tables = {m: (_table(runs, method, m, last), _table(runs, PLAIN, m, last)) for m in metrics}
    return {metric: asdict(gain(metric, *pair)) for metric, pair in tables.items()}


def _table(runs: Sequence[Run], method: str, metric: str, last: int) -> Table:
    """[seeds, periods]"""
    values = [[period["scores"][method].get(metric) for period in scored(run)[-last:]] for run in runs]
    return np.array([[math.nan if value is None else value for value in row] for row in values], np.float64)


def _mean(table: Table) -> float | None:
    """As `asmg replay` takes it, so that one seed gives the numbers of its summary to the last bit."""
    seeds = [fmean(defined) for row in table.tolist() if (defined := [x for x in row if not math.isnan(x)])]
    return fmean(seeds) if seeds else None


def _seconds(method: str, methods: Sequence[str], runs: Sequence[Run], last: int) -> float:
    """Of a period: training of the base model, and what this method does beside it. `auto` needs all the others."""
    needed = [name for name in methods if name != AUTO] if method == AUTO else [method]
    stages = ["training", *(f"{stage} {name}" for name in needed for stage in ("generator", "generation"))]
    periods = [period["seconds"] for run in runs for period in scored(run)[-last:]]
    return fmean(sum(seconds.get(stage, 0.0) for stage in stages) for seconds in periods)

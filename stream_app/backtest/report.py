"""report.json, and periods.csv: the same numbers, a row for each seed, period and method.

{"format": 1, "recording": {"name", "sha256", "rows"}, "settings", "machine", "methods": [names, "iu" first], "seeds",
 "last": periods that summary and gains look at, "interval": what the intervals are, in words,
 "runs": [{"seed", "periods": [entries as in period_scores.py]}],
 "summary": {method: {"metrics": {metric: mean}, "gain": None or {metric: {"mean", "low", "high", "worst", "best"}},
                      "seconds_per_period", "times_iu"}},
 "truth": None or {"log_loss": [[period, floor]], "regret": {method: [[period, mean over seeds above the floor]]}}}

A gain is that of gains.py: method minus `iu`, so that a lower log loss is a negative one. What is not defined is null.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from models.learning import machine_class
from stream_app.backtest.gains import described
from stream_app.backtest.study import Study
from stream_app.backtest.summary import Run, methods_of, scored, summary
from stream_app.backtest.truth import Floor, regrets

FORMAT = 1
_COUNTS = ("interactions", "samples", "users_new", "users_seen", "items_new", "items_seen")


def report_of(study: Study, runs: Sequence[Run], rows: int, digest: str | None, floor: Floor | None) -> dict[str, Any]:
    """The whole report. rows, digest: of the recording; floor: where its truth is known."""
    settings = asdict(study.settings) | {"ranking": study.ranking and asdict(study.ranking)}
    settings["learning"].pop("seed")
    methods = methods_of(runs)
    return {
        "format": FORMAT,
        "recording": {"name": study.recording.name, "sha256": digest, "rows": rows},
        "settings": settings,
        "machine": machine_class(study.settings.learning),
        "methods": methods,
        "seeds": list(study.seeds),
        "last": study.last,
        "interval": described(len(runs), min(study.last, *(len(scored(run)) for run in runs))),
        "runs": list(runs),
        "summary": summary(runs, study.last),
        "truth": None if floor is None else regrets(runs, floor, methods),
    }


def table_of(report: Mapping[str, Any]) -> str:
    """periods.csv. seconds: of the whole period, all methods and stages."""
    metrics = list(report["summary"][report["methods"][0]]["metrics"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seed", "period", "method", *metrics, *_COUNTS, "seconds"])
    writer.writerows(_rows(report, metrics))
    return text.getvalue()


def _rows(report: Mapping[str, Any], metrics: Sequence[str]) -> Iterator[list[Any]]:
    for run in report["runs"]:
        for period in run["periods"]:
            counts, seconds = [period[name] for name in _COUNTS], round(sum(period["seconds"].values()), 4)
            for method in period["scores"]:
                values = [period["scores"][method].get(metric) for metric in metrics]
                yield [run["seed"], period["period"], method, *values, *counts, seconds]

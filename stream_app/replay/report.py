"""report.json: what a replay found, period by period and in sum.

{"settings", "machine",
 "periods": [{"period", "interactions", "samples", "serving", "candidates": {method: {metric: value}}, "version",
              "digest", "seconds": {stage: s}, "decisions": {name: value}}],
 "summary": {method: {metric: mean over the last 7 scored periods, "periods": how many those are}},
 "totals": {"periods", "interactions", "samples", "versions", "late_rows", "dead_lettered_rows", "dropped_rows",
            "bad_rows", "open_rows", "seconds"}}

Metrics: auc, log_loss, both also over the items seen before the period (auc_seen_items, log_loss_seen_items), gauc (AUC
within each user), normalized_entropy (log loss in units of the entropy of the period's positive share), ece (expected
calibration error) and calibration (mean prediction over positive share); `models.metrics` defines them. One that is not
defined (AUC of one class) is null, and a mean is over the periods in which it is defined.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from stream_app.replay.results import METRICS, PeriodResult

LAST = 7
"""Periods that the summary looks at, as the paper does."""


@dataclass(frozen=True)
class Rest:
    """Rows that are in no closed period or not as sent.

    late_rows: all that came late; dead_lettered_rows, dropped_rows: those of them in no period, the others are in a
    later one; bad_rows: no valid interactions; open_rows: too few for another period.
    """

    late_rows: int
    dead_lettered_rows: int
    dropped_rows: int
    bad_rows: int
    open_rows: int


def summary(results: Sequence[PeriodResult]) -> dict[str, dict[str, float | None]]:
    """Per method the mean of each metric over the last 7 periods that it scored, and their number."""
    methods = list(dict.fromkeys(method for result in results for method in result.candidates))
    return {
        method: _means([r.candidates[method] for r in results if method in r.candidates][-LAST:]) for method in methods
    }


def totals(results: Sequence[PeriodResult], rest: Rest) -> dict[str, int | float]:
    """Sums over all periods, and what is in none."""
    return {
        "periods": len(results),
        "interactions": sum(result.interactions for result in results),
        "samples": sum(result.samples for result in results),
        "versions": sum(result.version is not None for result in results),
        **asdict(rest),
        "seconds": round(sum(spent for result in results for spent in result.seconds.values()), 3),
    }


def write_report(
    path: Path, settings: Mapping[str, Any], machine: Mapping[str, str], results: Sequence[PeriodResult], rest: Rest
) -> None:
    """Write it aside, then name it: there is never half a report."""
    report = {
        "settings": settings,
        "machine": machine,
        "periods": [asdict(result) for result in results],
        "summary": summary(results),
        "totals": totals(results, rest),
    }
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(path)


def _means(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for metric in METRICS:
        defined = [value for score in scores if (value := score.get(metric)) is not None]
        means[metric] = fmean(defined) if defined else None
    return means | {"periods": len(scores)}

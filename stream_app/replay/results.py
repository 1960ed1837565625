"""What a replay tells of each period."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from models.metrics import Score
from stream_app.pipeline import Updated

METRICS = (
    *("auc", "log_loss", "auc_seen_items", "log_loss_seen_items"),
    *("gauc", "normalized_entropy", "ece", "calibration"),
)
"""Of `models.metrics.Score`; a result written by an earlier release may have fewer."""


@dataclass(frozen=True)
class PeriodResult:
    """One update period of a replay.

    samples: interactions and drawn negatives; serving: the method whose model served this period, None while
    pretraining; candidates: {method: {metric: value}}, scored before anything trained on the period, None where a
    metric is not defined, "auto" being what served where that selects; version, digest: what serves from now on, None
    while pretraining; decisions: how that was chosen; seconds: by stage.
    """

    period: int
    interactions: int
    samples: int
    serving: str | None
    candidates: Mapping[str, Mapping[str, float | None]]
    version: int | None
    digest: str | None
    seconds: Mapping[str, float]
    decisions: Mapping[str, str | int | float | None] = field(default_factory=dict)

    @staticmethod
    def of(updated: Updated) -> PeriodResult:
        """From what the pipeline yields."""
        outcome, version = updated.outcome, updated.version
        return PeriodResult(
            period=updated.period.number,
            interactions=outcome.interactions,
            samples=outcome.samples,
            serving=outcome.served,
            candidates={method: metrics_of(score) for method, score in outcome.scores.items()},
            version=version.number if version else None,
            digest=version.digest if version else None,
            seconds={stage: round(spent, 3) for stage, spent in updated.seconds.items()},
            decisions=outcome.decisions,
        )


def metrics_of(score: Score) -> dict[str, float | None]:
    """Every metric by its name, None where it is not defined."""
    values: dict[str, float] = {name: getattr(score, name) for name in METRICS}
    return {name: None if math.isnan(value) else value for name, value in values.items()}

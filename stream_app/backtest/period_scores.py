"""What a backtest keeps of one period of one seed: an entry of "periods" in report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.interactions import Ids, Interactions
from models.learner import Outcome
from models.learner_state import LearnerState
from models.metrics.calibration import Calibration
from models.ranking import Ranking
from models.selection import AUTO
from models.vocabulary import Vocabulary
from stream_app.replay.results import metrics_of


@dataclass(frozen=True)
class PeriodScores:
    """One update period of one seed.

    samples: interactions and drawn negatives; users_new ... items_seen: distinct ids of its interactions, by whether
    they had occurred before it; chosen: what `auto` let serve it, None without it; scores: {method: {metric: value}},
    of what would have served, before anything trained on the period, None where a metric is not defined, empty while
    pretraining; calibration: {method: the sums of each bin: [samples, sum of predictions, positives]}; seconds: by
    stage.
    """

    period: int
    interactions: int
    samples: int
    users_new: int
    users_seen: int
    items_new: int
    items_seen: int
    chosen: str | None
    scores: Mapping[str, Mapping[str, float | None]]
    calibration: Mapping[str, Sequence[Sequence[float | None]]]
    seconds: Mapping[str, float]

    @staticmethod
    def of(
        before: LearnerState,
        after: LearnerState,
        interactions: Interactions,
        outcome: Outcome,
        ranked: Mapping[str, Ranking],
        seconds: Mapping[str, float],
    ) -> PeriodScores:
        """From the learner's step over the period, and its states before and after.

        ranked: recall and NDCG by method, empty where they are not asked for.
        """
        served = outcome.served if AUTO in outcome.scores else None
        if ranked and served is not None:
            ranked = {**ranked, AUTO: ranked[served]}
        users_new, users_seen = _born(interactions.users, before.sampler.users, after.sampler.users)
        items_new, items_seen = _born(interactions.items, before.sampler.items, after.sampler.items)
        return PeriodScores(
            period=outcome.period,
            interactions=outcome.interactions,
            samples=outcome.samples,
            users_new=users_new,
            users_seen=users_seen,
            items_new=items_new,
            items_seen=items_seen,
            chosen=served,
            scores={name: metrics_of(score) | _ranking(ranked.get(name)) for name, score in outcome.scores.items()},
            calibration={method: _bins(score.sums) for method, score in outcome.scores.items()},
            seconds={stage: round(spent, 4) for stage, spent in seconds.items()},
        )


def _ranking(found: Ranking | None) -> dict[str, float | None]:
    if found is None:
        return {}
    return {name: None if math.isnan(value := getattr(found, name)) else value for name in ("recall", "ndcg")}


def _bins(sums: Calibration) -> list[list[float | None]]:
    rows = zip(sums.count, sums.predicted, sums.positives, strict=True)
    return [[count, None if math.isnan(predicted) else predicted, positives] for count, predicted, positives in rows]


def _born(ids: Ids, before: Vocabulary, after: Vocabulary) -> tuple[int, int]:
    """How many of the distinct ids are new with this period, and how many are not."""
    new = len(after) - len(before)
    return new, len(np.unique(ids)) - new

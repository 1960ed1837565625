"""Metrics of one period's predictions: AUC and log loss, over all samples and over those with an item known before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """What a model reached on one period; NaN where a number is not defined (no samples, or for AUC only one class).

    auc_seen_items, log_loss_seen_items: over the samples whose target item had occurred before the period, since the
    others can be told apart by being new alone. samples: how many were scored in all.
    """

    auc: float
    log_loss: float
    auc_seen_items: float
    log_loss_seen_items: float
    samples: int


def score(logits: NDArray[Any], labels: NDArray[Any], seen: NDArray[np.bool_]) -> Score:
    """Every metric at once. logits, labels: [n]; seen: bool [n], was the target item known before the period?"""
    known, truth = logits[seen], labels[seen]
    return Score(auc(logits, labels), log_loss(logits, labels), auc(known, truth), log_loss(known, truth), len(logits))


def auc(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Area under the ROC curve: how often a positive stands above a negative, ties counting one half.

    NaN if only one class is there, or a logit is NaN. Labels above 0.5 are positive.
    """
    values, positive = np.asarray(logits), np.asarray(labels) > 0.5
    above = np.sort(values[positive])
    below = np.sort(values[~positive])
    pairs = len(above) * len(below)
    if not pairs or bool(np.isnan(values).any()):
        return math.nan
    # Counted in integers, so that no order of summation can show: twice the wins of positives, a tie being one.
    wins = int(np.searchsorted(below, above, side="left").sum()) + int(
        np.searchsorted(below, above, side="right").sum()
    )
    return wins / (2 * pairs)


def log_loss(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean of -ln p(label) with p = sigmoid(logit), in float64; finite for every finite logit. NaN without samples."""
    if not len(logits):
        return math.nan
    values = np.asarray(logits, np.float64)
    return float(np.logaddexp(0.0, np.where(np.asarray(labels) > 0.5, -values, values)).mean())

"""What a model reached on one period: every metric at once, from its logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics.calibration import Calibration
from models.metrics.loss import log_loss, losses, normalized_entropy
from models.metrics.roc import auc, gauc


@dataclass(frozen=True)
class Score:
    """What a model reached on one period; NaN where a number is not defined (no samples, or only one class).

    auc_seen_items, log_loss_seen_items: over the samples whose target item had occurred before the period, since the
    others can be told apart by being new alone. gauc: AUC within each user. normalized_entropy: log loss in units of
    the entropy of the period's positive share. ece, calibration: expected calibration error, and mean prediction over
    positive share. samples: how many were scored in all. sums: the sums behind ece and calibration, which add up over
    periods and runs.
    """

    auc: float
    log_loss: float
    auc_seen_items: float
    log_loss_seen_items: float
    gauc: float
    normalized_entropy: float
    ece: float
    calibration: float
    samples: int
    sums: Calibration


def score(logits: NDArray[Any], labels: NDArray[Any], users: NDArray[Any], seen_items: NDArray[np.bool_]) -> Score:
    """Every metric at once. logits, labels, users: [n]; seen_items: bool [n], was the item known before the period?"""
    each = losses(logits, labels)
    sums = Calibration.of(logits, labels)
    loss = log_loss(each)
    return Score(
        auc=auc(logits, labels),
        log_loss=loss,
        auc_seen_items=auc(logits[seen_items], labels[seen_items]),
        log_loss_seen_items=log_loss(each[seen_items]),
        gauc=gauc(logits, labels, users),
        normalized_entropy=normalized_entropy(loss, sum(sums.positives), len(logits)),
        ece=sums.error,
        calibration=sums.ratio,
        samples=len(logits),
        sums=sums,
    )

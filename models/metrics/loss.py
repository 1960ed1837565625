"""Log loss, and the same in units of what a constant prediction reaches (normalized entropy)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def losses(logits: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """-ln p(label) of each sample, with p = sigmoid(logit): float64 [n], finite for every finite logit.

    Labels above 0.5 are positive.
    """
    values = np.asarray(logits, np.float64)
    return np.logaddexp(0.0, np.where(np.asarray(labels) > 0.5, -values, values))


def log_loss(each: NDArray[np.float64]) -> float:
    """Mean of the `losses` of some samples; NaN without any."""
    return float(each.mean()) if len(each) else math.nan


def normalized_entropy(log_loss: float, positives: int, samples: int) -> float:
    """Log loss over the entropy of the positive share, both of the same samples: 1 is what predicting the share gives.

    NaN with one class only. Below 1 is better than a constant that knew the period's share, so that periods with
    different shares can be compared. Source: He and others, "Practical Lessons from Predicting Clicks on Ads at
    Facebook" (ADKDD 2014), section 2.
    """
    if not 0 < positives < samples:
        return math.nan
    share = positives / samples
    return log_loss / -(share * math.log(share) + (1 - share) * math.log1p(-share))

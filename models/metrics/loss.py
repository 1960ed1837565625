"""Log loss, its floor where the truth is known, and the same in units of what a constant prediction reaches."""

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


def true_losses(probabilities: NDArray[np.float64], labels: NDArray[Any]) -> NDArray[np.float64]:
    """-ln p(label) of each sample by the probabilities with which the labels were drawn: float64 [n].

    Their mean is the floor of the log loss on these samples, and what a model has above it is its regret: 0 or more on
    average, although chance may bring a model below the floor on few samples. Labels above 0.5 are positive.
    Raises ValueError when a probability is none, or rules out the label that was drawn.
    """
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        wrong = probabilities[~((probabilities >= 0) & (probabilities <= 1))][0]
        raise ValueError(f"a true probability must be between 0 and 1, is {wrong}")
    of_label = np.where(np.asarray(labels) > 0.5, probabilities, 1 - probabilities)
    if not bool(of_label.all()):
        raise ValueError("a label that has probability 0 was drawn: these are not the true probabilities")
    return np.asarray(-np.log(of_label))


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

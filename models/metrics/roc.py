"""Area under the ROC curve, of all samples together (AUC) and user by user (GAUC). Counted in integers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lookup import stable_order


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


def gauc(logits: NDArray[Any], labels: NDArray[Any], users: NDArray[Any]) -> float:
    """Mean over users of the AUC of each, weighted by the user's samples; users with one class only are left out.

    users: int [n] in [0, 2^31). NaN if no user has both classes, or a logit is NaN. Says whether a user's own items
    are told apart, where the AUC also rewards knowing which users are more positive. Source: the user-weighted AUC of
    Zhou and others, "Deep Interest Network for Click-Through Rate Prediction" (KDD 2018), weighted by impressions.
    """
    if not len(logits) or bool(np.isnan(logits).any()):
        return math.nan
    order = np.argsort(logits)
    order = order[stable_order(users[order])]
    user, value, positive = users[order], logits[order], labels[order] > 0.5
    new_user = np.append(True, user[1:] != user[:-1])
    new_tie = new_user | np.append(True, value[1:] != value[:-1])
    ties, user_of_tie = np.flatnonzero(new_tie), np.cumsum(new_user)[new_tie] - 1
    positives = np.add.reduceat(positive, ties, dtype=np.int64)
    negatives = np.diff(ties, append=len(order)) - positives
    first_tie = np.flatnonzero(new_user[new_tie])
    below = np.cumsum(negatives) - negatives
    below -= below[first_tie][user_of_tie]
    # As in `auc`: twice the wins of a tie's positives, over the user's negatives below it and those in it.
    wins = np.add.reduceat(positives * (2 * below + negatives), first_tie)
    above, under = np.add.reduceat(positives, first_tie), np.add.reduceat(negatives, first_tie)
    both = (above > 0) & (under > 0)
    if not both.any():
        return math.nan
    above, under = above[both], under[both]
    weights = above + under
    return float((weights * (wins[both] / (2 * above * under))).sum() / weights.sum())

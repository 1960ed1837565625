"""Metrics equal scikit-learn's, with ties, extremes and single classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from models.metrics import auc, log_loss, score


def labelled(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = (draw.random(500) < 0.3).astype(np.float32)
    logits = (draw.standard_normal(500) + labels).astype(np.float32)
    return (np.round(logits * 2) / 2 if ties else logits), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_both_equal_scikit_learn(seed: int, ties: bool) -> None:
    logits, labels = labelled(seed, ties)
    assert auc(logits, labels) == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    assert log_loss(logits, labels) == pytest.approx(sklearn_log_loss(labels, probabilities), rel=1e-12)


def test_auc_by_hand_with_ties() -> None:
    # Pairs (positive, negative): 2 > 1 wins, 2 = 2 ties, 1 = 1 ties, 1 < 2 loses.
    assert auc(np.array([2, 1, 1, 2]), np.array([1, 1, 0, 0])) == 0.5
    assert auc(np.array([3, 1, 1]), np.array([1, 1, 0])) == 0.75
    assert auc(np.zeros(6), np.array([1, 0, 1, 0, 0, 1])) == 0.5


def test_auc_does_not_depend_on_the_order_of_rows() -> None:
    logits, labels = labelled(0, ties=True)
    order = np.random.default_rng(1).permutation(len(labels))
    assert auc(logits[order], labels[order]) == auc(logits, labels)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_auc_but_a_log_loss(label: int) -> None:
    labels = np.full(3, label, np.float32)
    assert math.isnan(auc(np.array([1.0, 2.0, 3.0]), labels))
    assert log_loss(np.zeros(3), labels) == pytest.approx(math.log(2))


def test_no_samples_and_nan_logits_give_nan() -> None:
    none = np.empty(0, np.float32)
    assert math.isnan(auc(none, none))
    assert math.isnan(log_loss(none, none))
    assert math.isnan(auc(np.array([np.nan, 1.0]), np.array([1, 0])))


def test_log_loss_of_certain_mistakes_is_finite_and_exact() -> None:
    logits = np.array([1000.0, -1000.0, 1000.0, -40.0])
    assert log_loss(logits, np.array([0, 1, 1, 0])) == pytest.approx((1000 + 1000 + 0 + math.exp(-40)) / 4, rel=1e-12)


def test_seen_items_are_scored_beside_all() -> None:
    logits, labels = labelled(3, ties=False)
    seen = np.random.default_rng(4).random(len(labels)) < 0.6
    result = score(logits, labels, seen)
    assert result.samples == 500
    assert result.auc == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    assert result.auc_seen_items == pytest.approx(roc_auc_score(labels[seen], logits[seen]), abs=1e-12)
    probabilities = 1 / (1 + np.exp(-logits[seen].astype(np.float64)))
    assert result.log_loss_seen_items == pytest.approx(sklearn_log_loss(labels[seen], probabilities), rel=1e-12)
    assert math.isnan(score(logits, labels, np.zeros(500, bool)).log_loss_seen_items)

"""Metrics equal scikit-learn's, with ties, extremes and single classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from models.metrics import Calibration, Score, score
from models.metrics.loss import log_loss, losses, normalized_entropy, true_losses
from models.metrics.roc import auc, gauc


def labelled(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = (draw.random(500) < 0.3).astype(np.float32)
    logits = (draw.standard_normal(500) + labels).astype(np.float32)
    return (np.round(logits * 2) / 2 if ties else logits), labels


def probabilities(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_auc_and_log_loss_equal_scikit_learn(seed: int, ties: bool) -> None:
    logits, labels = labelled(seed, ties)
    assert auc(logits, labels) == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    expected = sklearn_log_loss(labels, probabilities(logits))
    assert log_loss(losses(logits, labels)) == pytest.approx(expected, rel=1e-12)


def test_auc_by_hand_with_ties() -> None:
    # Pairs (positive, negative): 2 > 1 wins, 2 = 2 ties, 1 = 1 ties, 1 < 2 loses.
    assert auc(np.array([2, 1, 1, 2]), np.array([1, 1, 0, 0])) == 0.5
    assert auc(np.array([3, 1, 1]), np.array([1, 1, 0])) == 0.75
    assert auc(np.zeros(6), np.array([1, 0, 1, 0, 0, 1])) == 0.5


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("users", [1, 3, 60, 400])
def test_gauc_is_scikit_learns_auc_user_by_user(users: int, ties: bool) -> None:
    logits, labels = labelled(users, ties)
    user = np.random.default_rng(users).integers(0, users, len(labels))
    total, weight = 0.0, 0
    for one in range(users):
        mine = user == one
        if len(set(labels[mine])) == 2:
            total += mine.sum() * roc_auc_score(labels[mine], logits[mine])
            weight += int(mine.sum())
    assert gauc(logits, labels, user) == pytest.approx(total / weight, abs=1e-12)


def test_gauc_by_hand() -> None:
    # User 7: 3 > 1 wins, 3 > 2 wins; weight 3. User 9: 1 < 5 loses, 5 = 5 ties; weight 3. User 4 has no negative.
    logits = np.array([1, 3, 2, 5, 5, 1, 9], np.float32)
    labels = np.array([0, 1, 0, 0, 1, 1, 1], np.float32)
    users = np.array([7, 7, 7, 9, 9, 9, 4])
    assert gauc(logits, labels, users) == (3 * 1.0 + 3 * 0.25) / 6
    # One user alone is right about every pair, though no threshold fits both.
    assert gauc(np.array([1, 2, 5, 6.0]), np.array([0, 1, 0, 1]), np.array([1, 1, 2, 2])) == 1.0
    assert auc(np.array([1, 2, 5, 6.0]), np.array([0, 1, 0, 1])) == 0.75


def test_neither_depends_on_the_order_of_rows() -> None:
    logits, labels = labelled(0, ties=True)
    users = np.random.default_rng(2).integers(0, 40, len(labels))
    order = np.random.default_rng(1).permutation(len(labels))
    assert auc(logits[order], labels[order]) == auc(logits, labels)
    assert gauc(logits[order], labels[order], users[order]) == gauc(logits, labels, users)


def test_a_zero_is_a_zero_whatever_its_sign() -> None:
    assert gauc(np.array([0.0, -0.0]), np.array([1, 0]), np.array([1, 1])) == 0.5


def test_normalized_entropy_by_hand_and_of_a_constant() -> None:
    # The entropy of a share of one half is ln 2.
    assert normalized_entropy(0.5, 2, 4) == pytest.approx(0.5 / math.log(2))
    labels = np.array([1, 0, 0, 0, 0], np.float32)
    share = np.full(5, math.log(0.2 / 0.8))
    assert normalized_entropy(log_loss(losses(share, labels)), 1, 5) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_a_log_loss_and_a_calibration_error_alone(label: int) -> None:
    labels = np.full(3, label, np.float32)
    result = score(np.zeros(3, np.float32), labels, np.array([1, 1, 2]), np.ones(3, bool))
    assert math.isnan(result.auc)
    assert math.isnan(result.gauc)
    assert math.isnan(result.normalized_entropy)
    assert result.log_loss == pytest.approx(math.log(2))
    assert result.ece == 0.5
    assert result.calibration == pytest.approx(0.5) if label else math.isnan(result.calibration)


def test_no_samples_and_nan_logits_give_nan() -> None:
    none = np.empty(0, np.float32)
    with np.errstate(invalid="ignore"):
        failed = score(np.array([np.nan, 1, 2]), np.array([1, 0, 1]), np.array([1, 1, 1]), np.ones(3, bool))
    for result in (failed, score(none, none, np.empty(0, np.int64), np.empty(0, bool))):
        numbers = {name: value for name, value in vars(result).items() if isinstance(value, float)}
        assert len(numbers) == 8
        assert all(math.isnan(value) for value in numbers.values()), numbers


def test_certain_mistakes_are_finite_and_exact() -> None:
    logits, labels = np.array([1000.0, -1000.0, 1000.0, -40.0]), np.array([0, 1, 1, 0])
    assert log_loss(losses(logits, labels)) == pytest.approx((1000 + 1000 + 0 + math.exp(-40)) / 4, rel=1e-12)
    assert score(logits, labels, np.array([1, 1, 1, 1]), np.ones(4, bool)).calibration == 1.0


def test_everything_at_once_is_each_alone() -> None:
    logits, labels = labelled(3, ties=False)
    draw = np.random.default_rng(4)
    seen, users = draw.random(len(labels)) < 0.6, draw.integers(0, 30, len(labels))
    sums = Calibration.of(logits, labels)
    loss = sklearn_log_loss(labels, probabilities(logits))
    expected = Score(
        auc=roc_auc_score(labels, logits),
        log_loss=loss,
        auc_seen_items=roc_auc_score(labels[seen], logits[seen]),
        log_loss_seen_items=sklearn_log_loss(labels[seen], probabilities(logits[seen])),
        gauc=gauc(logits, labels, users),
        normalized_entropy=normalized_entropy(loss, int(labels.sum()), 500),
        ece=sums.error,
        calibration=probabilities(logits).sum() / int(labels.sum()),
        samples=500,
        sums=sums,
    )
    found = vars(score(logits, labels, users, seen))
    for name, value in vars(expected).items():
        assert found[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name
    assert math.isnan(score(logits, labels, users, np.zeros(500, bool)).log_loss_seen_items)


def test_the_floor_is_the_log_loss_of_the_truth_and_certainty_costs_nothing() -> None:
    logits, labels = labelled(3, ties=False)
    truth = probabilities(logits).astype(np.float64)
    assert log_loss(true_losses(truth, labels)) == pytest.approx(sklearn_log_loss(labels, truth), rel=1e-12)
    by_hand = true_losses(np.array([1.0, 0.0, 0.25, 0.25]), np.array([1.0, 0.0, 1.0, 0.0]))
    assert by_hand.tolist() == pytest.approx([0.0, 0.0, math.log(4), math.log(4 / 3)])
    assert math.isnan(log_loss(true_losses(np.empty(0), np.empty(0))))


@pytest.mark.parametrize(
    ("probability", "label", "said"),
    [(1.5, 1, "between 0 and 1, is 1.5"), (math.nan, 1, "is nan"), (-0.1, 0, "is -0.1"), (0.0, 1, "probability 0")],
)
def test_what_cannot_be_the_truth_is_refused(probability: float, label: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        true_losses(np.array([0.5, probability]), np.array([0, label]))

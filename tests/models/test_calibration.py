"""Calibration: sums that add up, equal to scikit-learn's curve and to bins filled by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from models.metrics import Calibration


def predictions(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, their probabilities, and labels that are positive less often than predicted."""
    draw = np.random.default_rng(seed)
    logits = 2 * draw.standard_normal(n)
    p = 1 / (1 + np.exp(-logits))
    return logits, p, (draw.random(n) < p**1.5).astype(np.float64)


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_scikit_learns(seed: int) -> None:
    logits, p, labels = predictions(seed)
    sums = Calibration.of(logits, labels)
    share, mean = calibration_curve(labels, p, n_bins=15)  # of the bins that are not empty
    count = np.array(sums.count)
    filled = count > 0
    np.testing.assert_allclose(np.array(sums.positives)[filled] / count[filled], share, rtol=1e-12)
    np.testing.assert_allclose(np.array(sums.predicted)[filled] / count[filled], mean, rtol=1e-12)
    assert sum(sums.count) == len(labels)


def test_error_and_ratio_by_a_loop() -> None:
    logits, p, labels = predictions(7)
    error = 0.0
    for number in range(15):
        inside = (p >= number / 15) & (p < (number + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(p[inside].mean() - labels[inside].mean())
    sums = Calibration.of(logits, labels)
    assert sums.error == pytest.approx(error, rel=1e-12)
    assert sums.ratio == pytest.approx(p.mean() / labels.mean(), rel=1e-12)
    assert sums.ratio > 1.1  # the labels were drawn so


def test_by_hand() -> None:
    # Probabilities 1/4 (bin 3), 1/4, 3/4 (bin 11), and 1 (the last bin).
    logits = np.array([-math.log(3), -math.log(3), math.log(3), 1000.0])
    sums = Calibration.of(logits, np.array([0, 1, 1, 1]))
    assert sums.count == (0, 0, 0, 2, *[0] * 7, 1, 0, 0, 1)
    assert sums.positives == (0, 0, 0, 1, *[0] * 7, 1, 0, 0, 1)
    assert sums.predicted[3] == pytest.approx(0.5, rel=1e-12)
    assert sums.error == pytest.approx((0.5 + 0.25 + 0) / 4, rel=1e-12)
    assert sums.ratio == pytest.approx(2.25 / 3, rel=1e-12)


def test_the_sums_of_two_periods_are_those_of_both_together() -> None:
    logits, _, labels = predictions(1)
    first, second = Calibration.of(logits[:700], labels[:700]), Calibration.of(logits[700:], labels[700:])
    both, whole = first + second, Calibration.of(logits, labels)
    assert (both.count, both.positives) == (whole.count, whole.positives)
    assert both.predicted == pytest.approx(whole.predicted, rel=1e-12)
    assert Calibration.none() + whole == whole
    # The ratios do not add up, which is why the sums are kept.
    assert (first.error + second.error) / 2 != pytest.approx(both.error, rel=1e-3)


def test_nothing_predicted_is_not_defined() -> None:
    assert math.isnan(Calibration.none().error)
    assert math.isnan(Calibration.none().ratio)

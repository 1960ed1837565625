"""Paired gains: expected values by hand and from scipy; the interval covers as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from models.randomness import rng
from stream_app.backtest.gains import Gain, described, gain, interval, student

NOTHING = math.nan


def test_a_gain_is_paired_by_seed_and_period() -> None:
    plain = np.array([[0.5, 0.9], [0.6, 0.2]])
    found = gain("auc", plain + np.array([[0.01, 0.03], [0.02, 0.06]]), plain)
    assert found.mean == pytest.approx(0.03)
    assert (found.worst, found.best) == (pytest.approx(0.02), pytest.approx(0.04))


def test_the_worst_seed_is_the_one_whose_loss_rose_most() -> None:
    plain = np.zeros((2, 2))
    found = gain("log_loss", np.array([[-0.02, -0.02], [0.01, 0.01]]), plain)
    assert (found.worst, found.best) == (pytest.approx(0.01), pytest.approx(-0.02))


def test_a_calibration_ratio_gains_by_coming_nearer_to_1_from_either_side() -> None:
    found = gain("calibration", np.array([[0.9, 1.1]]), np.array([[1.3, 0.7]]))
    assert found.mean == pytest.approx(-0.2)


def test_periods_in_which_a_seed_has_no_number_are_left_out_for_all() -> None:
    method = np.array([[0.1, 5.0, 0.3], [0.1, NOTHING, 0.3]])
    assert gain("auc", method, np.zeros((2, 3))) == gain("auc", method[:, [0, 2]], np.zeros((2, 2)))
    assert gain("auc", method[:, 1:2], np.zeros((2, 1))) == Gain(None, None, None, None, None)


@pytest.mark.parametrize("freedom", [1.0, 1.7, 2.0, 4.3, 30.0, 1e6])
def test_the_t_quantile_is_that_of_scipy(freedom: float) -> None:
    assert student(0.975, freedom) == pytest.approx(float(stats.t.ppf(0.975, freedom)), rel=2e-4)


def test_over_seeds_alone_it_is_the_plain_t_interval() -> None:
    gains = np.array([[0.1], [0.4], [0.2], [0.7]])
    expected = stats.t.interval(0.95, 3, loc=gains.mean(), scale=stats.sem(gains[:, 0]))
    assert interval(gains) == pytest.approx(expected, rel=2e-4)


def test_over_two_periods_alone_it_is_the_plain_t_interval_too() -> None:
    """With two periods there is one cosine, and its projection is their difference."""
    gains = np.array([[0.1, 0.5]])
    expected = stats.t.interval(0.95, 1, loc=0.3, scale=stats.sem(gains[0]))
    assert interval(gains) == pytest.approx(expected, rel=2e-4)


def test_one_number_has_no_interval_and_equal_ones_have_none_to_show() -> None:
    assert interval(np.array([[0.5]])) == (None, None)
    assert interval(np.full((3, 7), 0.5)) == pytest.approx((0.5, 0.5))


def test_the_words_say_what_the_interval_is_taken_over() -> None:
    assert "5 seeds and the last 7 periods" in described(5, 7)
    assert "one seed only" in described(1, 7)
    assert "periods" not in described(3, 1).partition(";")[0]
    assert described(1, 1).startswith("none")


@pytest.mark.parametrize(
    ("seeds", "periods", "memory", "of_seed", "of_period"),
    [(5, 7, 0.0, 0.3, 1.0), (5, 7, 0.3, 0.3, 1.0), (3, 7, 0.3, 1.0, 0.5), (5, 21, 0.5, 0.3, 1.0)],
)
def test_about_95_of_100_intervals_hold_the_truth_though_periods_depend_on_each_other(
    seeds: int, periods: int, memory: float, of_seed: float, of_period: float
) -> None:
    """Simulated gains with mean 0: an effect of each seed, one of each period (an AR(1) process), and noise."""
    draw, studies = rng(0, 0, f"coverage/{seeds}/{periods}/{memory}"), 600
    held = 0
    for _ in range(studies):
        shocks = draw.standard_normal(periods)
        effects = [shocks[0]]
        for shock in shocks[1:]:
            effects.append(memory * effects[-1] + math.sqrt(1 - memory**2) * shock)
        noise = 0.7 * draw.standard_normal((seeds, periods))
        low, high = interval(of_seed * draw.standard_normal((seeds, 1)) + of_period * np.array(effects) + noise)
        assert low is not None
        assert high is not None
        held += low <= 0 <= high
    # The standard error of a share of 600 is 0.009. The usual bootstrap over seeds and periods reaches 0.7 to 0.9 here.
    assert 0.91 <= held / studies <= 0.985

"""Selection `auto`: who serves next, by hand."""

from __future__ import annotations

import math

import pytest

from models.selection import Auto, Selection

BOTH = ("iu", "row-statistics")
KEEP = 1 / math.sqrt(2)
"""Half-life 2: after two periods a log loss counts half."""


def after(*losses: tuple[float, float], half_life: float = 2.0) -> Selection:
    selection = Selection({})
    for pair in losses:
        selection = selection.observed(dict(zip(BOTH, pair, strict=True)), half_life)
    return selection


def test_the_first_choice_is_iu_whatever_its_place() -> None:
    assert Selection({}).chosen(BOTH) == "iu"
    assert Selection({}).chosen(("asmg", "row-statistics", "iu")) == "iu"


def test_without_iu_the_first_candidate_serves_first() -> None:
    assert Selection({}).chosen(("row-statistics", "asmg")) == "row-statistics"


def test_the_first_value_counts_as_it_is_and_later_ones_by_a_half_life_of_two_periods() -> None:
    smoothed = after((0.5, 0.6), (0.7, 0.4), (0.3, 0.4)).smoothed
    by_hand = ((0.5 * KEEP + 0.7 * (1 - KEEP)) * KEEP) + 0.3 * (1 - KEEP)
    assert smoothed["iu"] == pytest.approx(by_hand, abs=1e-12)
    two_later = after((1.0, 1.0), (0.0, 0.0), (0.0, 0.0)).smoothed["iu"]
    assert two_later == pytest.approx(0.5, abs=1e-12)


def test_the_lowest_smoothed_log_loss_serves_not_the_last_one() -> None:
    selection = after((0.50, 0.40), (0.49, 0.50))
    assert selection.chosen(BOTH) == "row-statistics"
    assert after((0.50, 0.40), (0.40, 0.80)).chosen(BOTH) == "iu"


def test_a_tie_goes_to_iu_and_among_others_to_the_first() -> None:
    assert after((0.5, 0.5)).chosen(("row-statistics", "iu")) == "iu"
    level = Selection({"iu": 0.6, "asmg": 0.5, "row-statistics": 0.5})
    assert level.chosen(("iu", "row-statistics", "asmg")) == "row-statistics"
    assert level.chosen(("iu", "asmg", "row-statistics")) == "asmg"


def test_a_period_without_a_score_changes_nothing() -> None:
    before = after((0.5, 0.4))
    assert before.observed({}, 2.0) == before
    assert before.observed({"iu": math.nan, "row-statistics": math.nan}, 2.0) == before


def test_who_predicts_no_numbers_does_not_serve_again() -> None:
    selection = after((0.5, 0.4), (0.5, math.nan), (0.5, 0.1))
    assert selection.chosen(BOTH) == "iu"
    assert selection.explained(BOTH)["smoothed_log_loss.row-statistics"] is None
    assert after((0.4, 0.5), (math.nan, 0.5), (0.1, 0.5)).chosen(BOTH) == "row-statistics"


def test_every_choice_is_explained() -> None:
    assert Selection({}).explained(BOTH) == {
        "serve": "auto",
        "chosen": "iu",
        "smoothed_log_loss.iu": None,
        "smoothed_log_loss.row-statistics": None,
        "reason": "no period has been scored yet: iu serves first",
    }
    explained = after((0.5, 0.4)).explained(BOTH)
    assert (explained["chosen"], explained["smoothed_log_loss.iu"]) == ("row-statistics", 0.5)
    assert explained["reason"] == "row-statistics has the lowest smoothed log loss, 0.4000 against 0.5000 of iu"
    assert after((0.5, 0.5)).explained(BOTH)["reason"] == (
        "iu and row-statistics are level at a smoothed log loss of 0.5000: iu comes first"
    )
    assert after((0.5, 0.5)).explained(("iu",))["reason"] == "iu is the only candidate with a score"


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.inf, math.nan])
def test_a_half_life_that_is_none_is_refused(half_life: float) -> None:
    with pytest.raises(ValueError, match="half_life must be a number of periods above 0"):
        Auto(half_life=half_life)


def test_a_candidate_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="candidates must name each method once"):
        Auto(candidates=("iu", "iu"))

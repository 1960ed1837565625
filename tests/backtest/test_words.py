"""What is said of a report and of the time left: in few words, and right."""

from __future__ import annotations

from typing import Any

import pytest

from stream_app.backtest.job import At
from stream_app.backtest.time_left import TimeLeft, spoken
from stream_app.backtest.words import sentences


def gain(mean: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"mean": mean, "low": low, "high": high, "worst": mean, "best": mean}


def report(**gains: Any) -> dict[str, Any]:
    plain = {"metrics": {"auc": 0.8, "log_loss": 0.5}, "gain": None, "seconds_per_period": 2.0, "times_iu": 1.0}
    other = {"metrics": {"auc": 0.8, "log_loss": 0.5}, "gain": gains, "seconds_per_period": 5.0, "times_iu": 2.5}
    return {"methods": ["iu", "new"], "summary": {"iu": plain, "new": other}}


def test_a_higher_auc_and_a_lower_log_loss_are_better() -> None:
    plain, new = sentences(report(auc=gain(0.01, 0.005, 0.015), log_loss=gain(-0.02, -0.03, -0.01)))
    assert plain == "iu: what the others are compared with; AUC 0.8000, log loss 0.5000."
    assert "AUC better, +0.0100 (+0.0050 to +0.0150)" in new
    assert "log loss better, -0.0200" in new
    assert new.endswith("2.5 times the cost.")


def test_worse_is_said_and_so_is_what_may_be_chance() -> None:
    _, new = sentences(report(auc=gain(-0.01, -0.02, -0.001), log_loss=gain(0.002, -0.001, 0.005)))
    assert "AUC worse, -0.0100" in new
    assert "log loss no sure difference, +0.0020 (-0.0010 to +0.0050)" in new


def test_without_an_interval_nothing_is_called_better() -> None:
    _, new = sentences(report(auc=gain(0.01, None, None), log_loss=gain(-0.02, None, None)))
    assert new == "new: AUC +0.0100; log loss -0.0200; 2.5 times the cost."


def going(at_once: int = 1) -> TimeLeft:
    """Two seeds of 4 passes and 10 periods, 3 of which are only collected, told of 2 s a pass and 5 s a period."""
    left = TimeLeft([0, 1], passes=4, periods=10, pretrain=3, at_once=at_once)
    for passes, periods, now in ((0, 0, 0.0), (0, 2, 1.0), (1, 2, 2.0), (2, 2, 4.0), (4, 3, 8.0), (4, 4, 13.0)):
        left.told(0, At(passes, periods, ""), now)
    return left


def test_the_time_left_is_what_remains_at_the_pace_so_far() -> None:
    assert going().steps == (5, 22)
    assert going().seconds() == pytest.approx(6 * 5 + 4 * 2 + 7 * 5)


def test_several_processes_share_it_but_no_process_shares_a_seed() -> None:
    assert going(at_once=2).seconds() == pytest.approx(4 * 2 + 7 * 5)


def test_what_was_done_before_a_resume_is_not_measured() -> None:
    left = TimeLeft([0], passes=4, periods=10, pretrain=3, at_once=1)
    left.told(0, At(4, 8, ""), 0.0)
    assert left.seconds() is None
    left.told(0, At(4, 9, ""), 3.0)
    assert left.seconds() == pytest.approx(3.0)


def test_a_time_is_spoken_as_people_do() -> None:
    assert [spoken(seconds) for seconds in (None, 0.2, 45, 600, 20_000)] == [
        *("", "about 1 s left", "about 45 s left", "about 10 min left", "about 5.6 h left"),
    ]

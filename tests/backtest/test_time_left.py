"""How long it will still take: as long as what is left would at the pace so far."""

from __future__ import annotations

import pytest

from stream_app.backtest.job import At
from stream_app.backtest.time_left import TimeLeft, spoken


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

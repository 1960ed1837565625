"""Which rows are one period: against lists that are cut by hand and by loops."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.events.open_rows import OpenRows
from stream_app.events.periods import AnyPeriods, EqualCount, EventTime, UpdatePeriod
from stream_app.events.segment import END

SECOND = 1_000_000


def closed(periods: EqualCount | EventTime, times: list[int], last: UpdatePeriod | None = None) -> list[UpdatePeriod]:
    return periods.close(np.array(sorted(times), np.int64), last)


def test_equal_count_periods_share_a_time_by_multiplicity() -> None:
    first = closed(EqualCount(count=3), [1, 2, 5, 5, 5, 5, 5, 5])
    assert first == [UpdatePeriod(1, 1, 6, 3, skip=0, used=1), UpdatePeriod(2, 5, 6, 3, skip=1, used=4)]
    later = closed(EqualCount(count=3), [5, 5, 7, 8, 9, 9], first[-1])
    assert later == [UpdatePeriod(3, 5, 8, 3, skip=4, used=1), UpdatePeriod(4, 8, 10, 3, skip=0, used=2)]


def test_a_period_that_ends_in_the_ties_of_the_one_before_counts_them_all() -> None:
    last = UpdatePeriod(7, 5, 6, 2, skip=2, used=4)
    assert closed(EqualCount(count=2), [5, 5], last) == [UpdatePeriod(8, 5, 6, 2, skip=4, used=6)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 7), st.integers(0, 40))
def test_every_row_of_equal_count_periods_is_in_exactly_one(times: list[int], count: int, border: int) -> None:
    whole, periods = sorted(times), EqualCount(count=count)
    found = closed(periods, whole[:border])
    taken = count * len(found)
    found += closed(periods, whole[taken:], found[-1] if found else None)
    assert [period.number for period in found] == list(range(1, len(times) // count + 1))
    for i, period in enumerate(found):
        ordered = [time for time in whole if period.start <= time < period.end]
        assert ordered[period.skip : period.skip + period.rows] == whole[i * count : (i + 1) * count]
        assert period.used == whole[: (i + 1) * count].count(period.end - 1)


def test_event_time_periods_are_numbered_by_window_and_empty_ones_are_skipped() -> None:
    periods = EventTime(length=10)
    first = closed(periods, [int(t * SECOND) for t in (25, 29.999999, 30, 61)])
    assert [(p.number, p.start // SECOND, p.end // SECOND, p.rows) for p in first] == [
        (1, 20, 30, 2),
        (2, 30, 40, 1),
        (5, 60, 70, 1),
    ]
    assert [p.used for p in first] == [1, 0, 0]
    assert [p.number for p in closed(periods, [99 * SECOND], first[-1])] == [8]
    assert closed(periods, [], first[-1]) == []


def test_windows_before_the_epoch_are_half_open_too() -> None:
    found = closed(EventTime(length=1), [-1, 0, -SECOND])
    assert [(p.number, p.start, p.end, p.rows) for p in found] == [(1, -SECOND, 0, 2), (2, 0, SECOND, 1)]


def test_a_window_closes_only_when_the_watermark_has_left_it() -> None:
    periods = EventTime(length=10)
    assert periods.bound(39_999_999) == 30 * SECOND
    assert periods.bound(40 * SECOND) == 40 * SECOND
    assert periods.bound(END) == END


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=12), st.integers(0, 35)), max_size=12), st.integers(1, 5)
)
def test_open_rows_close_what_is_final_and_keep_the_rest(steps: list[tuple[list[int], int]], count: int) -> None:
    open_rows, watermark = OpenRows(), 0
    everything: list[int] = []
    found: list[UpdatePeriod] = []
    for times, step in steps:
        new = [max(time, watermark) for time in times]  # no row is assigned a time before the watermark
        everything += new
        watermark = max(watermark, step)
        open_rows.add(np.array(new, np.int64))
        found += open_rows.closed_by(EqualCount(count=count), watermark, found[-1] if found else None)
        assert len(found) == sum(time < watermark for time in everything) // count
        assert len(open_rows) == len(everything) - count * len(found)
    everything.sort()
    assert [p.start for p in found] == [everything[i * count] for i in range(len(found))]


def test_many_small_parts_are_joined_and_none_is_lost() -> None:
    open_rows = OpenRows()
    for time in range(10_000):
        open_rows.add(np.array([time ^ 3], np.int64))
        assert open_rows.closed_by(EqualCount(count=10_001), time - 4, None) == []
    assert len(open_rows) == 10_000
    assert [p.rows for p in open_rows.closed_by(EqualCount(count=9_999), END, None)] == [9_999]
    assert len(open_rows) == 1


def test_nothing_closes_while_the_watermark_is_unknown() -> None:
    open_rows = OpenRows()
    open_rows.add(np.arange(10))
    assert open_rows.closed_by(EqualCount(count=1), None, None) == []
    assert len(open_rows) == 10


@pytest.mark.parametrize(
    ("kind", "settings_", "named"),
    [
        (EqualCount, {"count": 0}, "count"),
        (EqualCount, {"count": 5, "lateness": -1}, "lateness"),
        (EqualCount, {"count": 5, "lateness": float("nan")}, "lateness"),
        (EqualCount, {"count": 5, "lateness": float("inf")}, "lateness"),
        (EventTime, {"length": 0}, "length"),
        (EventTime, {"length": -3}, "length"),
        (EventTime, {"length": float("nan")}, "length"),
    ],
)
def test_nonsense_is_refused_by_name(
    kind: type[EqualCount | EventTime], settings_: dict[str, float], named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{named}:"):
        kind(**settings_)  # type: ignore[arg-type]


def test_settings_tell_the_kinds_apart_by_name() -> None:
    union = pydantic.TypeAdapter(Annotated[AnyPeriods, pydantic.Field(discriminator="by")])
    assert union.validate_python({"by": "count", "count": 7}) == EqualCount(count=7)
    assert union.validate_python({"by": "time", "length": 3600, "lateness": 5}) == EventTime(length=3600, lateness=5)
    for wrong in (
        {"by": "day"},
        {"by": "count", "count": 0},
        {"by": "count"},
        {"by": "time", "length": 1, "late": "x"},
    ):
        with pytest.raises(pydantic.ValidationError):
            union.validate_python(wrong)
    assert dataclasses.asdict(EqualCount(count=7)) == {
        "by": "count",
        "count": 7,
        "lateness": 60.0,
        "late": "next-period",
    }

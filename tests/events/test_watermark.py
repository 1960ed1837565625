"""Late or not, and when a row counts: against a loop that walks record by record."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.interactions import Interactions
from stream_app.events.segment import END, Segment
from stream_app.events.watermark import LOWEST, PartitionMark, assign, slowest


def segment(first: int, records: list[tuple[str, int]]) -> Segment:
    """Consecutive records from offset `first` on: ("row", time) or ("mark", time)."""
    rows = [(first + i, time) for i, (kind, time) in enumerate(records) if kind == "row"]
    marks = tuple((first + i, time) for i, (kind, time) in enumerate(records) if kind == "mark")
    offsets, times = np.array([o for o, _ in rows], np.int64), np.array([t for _, t in rows], np.int64)
    columns = Interactions(offsets, offsets, times, np.ones(len(rows), np.float32))
    return Segment(0, first, first + len(records), offsets, columns, marks)


def walk(records: list[tuple[str, int]], lateness: int) -> tuple[list[int], list[bool], int | None]:
    """Design, "Time": a row is late if its time < the largest so far - lateness (or what a watermark record said)."""
    watermark, assigned, late = None, [], []
    for kind, time in records:
        if kind == "mark":
            watermark = time if watermark is None else max(watermark, time)
            continue
        late.append(watermark is not None and time < watermark)
        assigned.append(time if watermark is None else max(time, watermark))
        watermark = time - lateness if watermark is None else max(watermark, time - lateness)
    return assigned, late, watermark


RECORDS = st.lists(st.tuples(st.sampled_from(["row", "row", "row", "mark"]), st.integers(-50, 50)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.integers(0, 30), st.lists(st.integers(0, 40), max_size=4))
def test_rows_are_judged_one_by_one_whatever_the_batch_borders(
    records: list[tuple[str, int]], lateness: int, borders: list[int]
) -> None:
    cuts = sorted({0, len(records), *(min(border, len(records)) for border in borders)})
    mark, assigned, late = PartitionMark(), [], []
    for first, end in pairwise(cuts):
        some, some_late, mark = assign(segment(first, records[first:end]), mark, lateness)
        assigned += some.tolist()
        late += some_late.tolist()
    expected, expected_late, watermark = walk(records, lateness)
    assert (assigned, late, mark.watermark) == (expected, expected_late, watermark)
    assert (mark.rows, mark.late) == (len(expected), sum(expected_late))


def test_a_row_exactly_at_the_lateness_is_on_time() -> None:
    assigned, late, _ = assign(segment(0, [("row", 100), ("row", 40), ("row", 39)]), PartitionMark(), 60)
    assert late.tolist() == [False, False, True]
    assert assigned.tolist() == [100, 40, 40]


def test_no_row_is_assigned_a_time_before_the_frontier() -> None:
    assigned, late, mark = assign(segment(0, [("row", 5), ("row", 25)]), PartitionMark(), 60, frontier=20)
    assert assigned.tolist() == [20, 25]
    assert late.tolist() == [True, False]
    assert mark.watermark == 25 - 60  # the partition itself is only as far as its own rows


def test_times_near_the_lowest_do_not_wrap_around() -> None:
    assigned, _, mark = assign(segment(0, [("row", LOWEST + 5)]), PartitionMark(), 60)
    assert assigned.tolist() == [LOWEST + 5]
    assert mark.watermark == LOWEST


def test_an_ended_partition_speaks_again_when_a_row_comes() -> None:
    _, _, ended = assign(segment(0, [("row", 100), ("mark", END)]), PartitionMark(), 60)
    assert (ended.quiet, ended.watermark) == ("ended", 40)
    assert assign(segment(2, []), ended, 60)[2].quiet == "ended"
    assigned, late, again = assign(segment(2, [("row", 10)]), ended, 60)
    assert (again.quiet, assigned.tolist(), late.tolist()) == ("", [40], [True])
    assert assign(segment(2, [("mark", 50)]), ended, 60)[2] == PartitionMark(3, 50, "", 1, 0)


def test_the_stream_is_as_far_as_its_slowest_partition() -> None:
    at = {n: PartitionMark(watermark=time) for n, time in ((0, 50), (1, 20), (2, 20))}
    ended, idle = PartitionMark(watermark=70, quiet="ended"), PartitionMark(quiet="idle")
    assert slowest(at, 3) == (20, (1, 2))
    assert slowest(at, None) == (None, ())
    assert slowest(at, 5) == (None, (3, 4))
    assert slowest({**at, 1: ended, 2: idle}, 3) == (50, (0,))
    assert slowest({0: ended, 1: ended}, 2) == (END, ())
    assert slowest({0: ended, 1: idle}, 2) == (END, ())
    assert slowest({0: idle, 1: idle}, 2) == (None, ())
    assert slowest({0: ended}, 2) == (None, (1,))
    assert slowest({0: PartitionMark(watermark=9), 4: PartitionMark(watermark=3)}, 1) == (3, (4,))

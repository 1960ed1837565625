"""Nothing lost, nothing twice, one answer: the laws of ingestion, against loops over tuples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segments_by_hand import (
    Log,
    Row,
    counted,
    late_rows,
    partitioned,
    periods_by_count,
    periods_by_time,
    segment,
    stored_periods,
    tuples,
    without,
)

from models.interactions import Interactions
from stream_app.errors import IncompatibleState, NewerRun, OffsetGap, TopicRecreated
from stream_app.events.periods import AnyPeriods, EqualCount, EventTime, UpdatePeriod
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord, decode
from stream_app.events.watermark import Late
from stream_app.pipeline import ingest
from stream_app.store.journal import Journal

LATENESS = 20e-6
"""20 microseconds: the streams below count event time in single microseconds."""

few = settings(max_examples=30, deadline=None)

MEMORY = Path("/dev/shm")
"""Hundreds of journals are made here: without a disk to wait for, where there is such a place."""


def folder_in_memory() -> TemporaryDirectory[str]:
    """A folder for one journal."""
    return TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


@contextmanager
def journal(path: Path | None = None) -> Iterator[Journal]:
    """A journal in `path`, or in a folder of its own."""
    with folder_in_memory() as folder, Journal.open(path or Path(folder) / "journal", {}) as opened:
        yield opened


def ingested(stream: list[SegmentsRecord], periods: AnyPeriods) -> dict[int, list[Row]]:
    """The periods that a fresh journal closes when it reads this segments topic."""
    with journal() as fresh:
        for position, record in enumerate(stream):
            ingest(fresh, periods, decode(record.encode()), position)
        return stored_periods(fresh)


def rows_drawn(draw: st.DrawFn, disorder: int) -> list[Row]:
    """Rows whose times rise, each up to `disorder` before the largest so far."""
    steps = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, disorder)), min_size=1, max_size=60))
    clock, rows = 100, []
    for i, (step, back) in enumerate(steps):
        clock += step
        rows.append(Row(clock - back, draw(st.integers(0, 6)), i % 5, i % 2))
    return rows


def cut_and_mixed(draw: st.DrawFn, logs: Sequence[Log]) -> list[SegmentsRecord]:
    """The logs as a segments topic: any batch borders, any interleaving, the partition set anywhere."""
    queues = []
    for partition, log in enumerate(logs):
        borders = draw(st.sets(st.integers(0, len(log)), max_size=5)) | {0, len(log)}
        cuts = sorted(borders)
        queues.append([segment(partition, a, log[a:b]) for a, b in pairwise(cuts)])
    stream: list[SegmentsRecord] = []
    while any(queues):
        stream.append(draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    stream.insert(draw(st.integers(0, len(stream))), PartitionSet(len(logs)))
    return stream


@st.composite
def orderly_streams(draw: st.DrawFn) -> tuple[list[Row], list[list[SegmentsRecord]]]:
    """Rows with disorder within the lateness, and two segments topics that carry them: 1 partition and 4."""
    rows = rows_drawn(draw, disorder=20)
    return rows, [cut_and_mixed(draw, partitioned(rows, n)) for n in (1, 4)]


@few
@given(orderly_streams(), st.integers(1, 9))
def test_equal_count_periods_have_one_answer_through_1_or_4_partitions(
    drawn: tuple[list[Row], list[list[SegmentsRecord]]], count: int
) -> None:
    rows, streams = drawn
    expected = {i + 1: sorted(rows)[i * count : (i + 1) * count] for i in range(len(rows) // count)}
    for stream in streams:
        assert ingested(stream, EqualCount(count=count, lateness=LATENESS)) == expected


@few
@given(orderly_streams(), st.integers(1, 60))
def test_event_time_periods_have_one_answer_through_1_or_4_partitions(
    drawn: tuple[list[Row], list[list[SegmentsRecord]]], length: int
) -> None:
    rows, streams = drawn
    expected = periods_by_time([rows], 20, length)
    for stream in streams:
        assert ingested(stream, EventTime(length=length * 1e-6, lateness=LATENESS)) == expected


@st.composite
def wild_streams(draw: st.DrawFn) -> tuple[Sequence[Log], list[SegmentsRecord]]:
    """Rows of any disorder with watermark records in between, in 1 to 3 partitions."""
    logs = partitioned(rows_drawn(draw, disorder=80), draw(st.integers(1, 3)))
    for log in logs:
        for time in draw(st.lists(st.integers(80, 300), max_size=2)):
            log.insert(draw(st.integers(0, len(log) - 1)), time)
    return logs, cut_and_mixed(draw, logs)


@few
@given(wild_streams(), st.integers(1, 9))
def test_every_row_late_or_not_enters_exactly_one_period(
    drawn: tuple[Sequence[Log], list[SegmentsRecord]], size: int
) -> None:
    logs, stream = drawn
    by_time = ingested(stream, EventTime(length=size * 1e-6, lateness=LATENESS))
    assert by_time == periods_by_time(logs, 20, size)
    assert sorted(counted(by_time).elements()) == sorted(row for log in logs for row in log if isinstance(row, Row))
    assert ingested(stream, EqualCount(count=size, lateness=LATENESS)) == periods_by_count(logs, 20, size)


def repeated(logs: Sequence[Log], stream: list[SegmentsRecord], data: st.DataObject) -> list[SegmentsRecord]:
    """The stream with segments that begin too early, and with some records twice."""
    seen, found = dict.fromkeys(range(len(logs)), 0), list[SegmentsRecord]()
    for record in stream:
        if isinstance(record, Segment):
            first = data.draw(st.integers(0, seen[record.partition]))
            seen[record.partition] = record.next_offset
            record = segment(record.partition, first, logs[record.partition][first : record.next_offset])
        found += [record] * data.draw(st.integers(1, 2))
    return found


@few
@given(wild_streams(), st.data())
def test_repeats_and_overlaps_change_nothing(
    drawn: tuple[Sequence[Log], list[SegmentsRecord]], data: st.DataObject
) -> None:
    periods = EqualCount(count=4, lateness=LATENESS)
    assert ingested(repeated(*drawn, data), periods) == ingested(drawn[1], periods)


@few
@given(wild_streams(), st.sampled_from(["dead-letter", "drop"]), st.booleans(), st.data())
def test_late_rows_enter_no_period_and_none_is_lost_between_its_batch_and_the_dead_letters(
    drawn: tuple[Sequence[Log], list[SegmentsRecord]], policy: Late, counts: bool, data: st.DataObject
) -> None:
    logs, stream = drawn[0], repeated(*drawn, data)
    late = late_rows(logs, 20)
    on_time = without(logs, late)
    periods: AnyPeriods = EventTime(length=9e-6, lateness=LATENESS, late=policy)
    expected = periods_by_time(on_time, 20, 9)
    if counts:
        periods, expected = EqualCount(count=4, lateness=LATENESS, late=policy), periods_by_count(on_time, 20, 4)
    topic: dict[tuple[int, int], list[Row]] = defaultdict(list)
    crashes = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=2)))
    with folder_in_memory() as folder:
        for crash in [*crashes, len(stream)]:
            with journal(Path(folder) / "journal") as opened:
                for position, record in enumerate(stream[:crash]):
                    ingest(opened, periods, record, position)
                    if data.draw(st.booleans()):  # else Kafka is away
                        send_late(opened, topic, acknowledged=data.draw(st.booleans()))
        with journal(Path(folder) / "journal") as opened:
            send_late(opened, topic, acknowledged=True)
            assert stored_periods(opened) == expected
            assert list(opened.late_rows()) == []
            assert sum(mark.late for mark in opened.marks.values()) == len(late)
            left_out = [(mark.dead_lettered, mark.dropped) for _, mark in sorted(opened.marks.items())]
    by_partition = Counter(partition for partition, _ in late)
    letters = policy == "dead-letter"
    assert left_out == [(by_partition[n], 0) if letters else (0, by_partition[n]) for n in range(len(logs))]
    assert {origin: set(rows) for origin, rows in topic.items()} == (
        {origin: {row} for origin, row in late.items()} if letters else {}
    )


def send_late(opened: Journal, topic: dict[tuple[int, int], list[Row]], acknowledged: bool) -> None:
    """Put what waits under the keys of its origins; the crash may come before the answer."""
    waiting = list(opened.late_rows())
    for _, part in waiting:
        for offset, row in zip(part.offsets.tolist(), tuples(part.rows), strict=True):
            topic[part.partition, offset].append(row)
    if acknowledged and waiting:
        opened.late_sent([number for number, _ in waiting])


@st.composite
def silent_streams(draw: st.DrawFn) -> tuple[Sequence[Log], list[SegmentsRecord]]:
    """Wild streams whose partitions appear one after the other and fall silent now and then."""
    logs, stream = draw(wild_streams())
    seen, found = dict.fromkeys(range(len(logs)), 0), list[SegmentsRecord]()
    for record in stream:
        if draw(st.booleans()):
            found.append(PartitionSet(draw(st.integers(1, len(logs)))))
        for partition in draw(st.sets(st.sampled_from(range(len(logs))))):
            found.append(IdleMark(partition, seen[partition]))
        if isinstance(record, Segment):
            seen[record.partition] = record.next_offset
        found.append(record)
    return logs, found


@few
@given(silent_streams(), st.sampled_from(["next-period", "dead-letter"]), st.integers(1, 60))
def test_whatever_appears_or_falls_silent_a_closed_period_stays_as_it_is_and_each_row_is_in_one_place(
    drawn: tuple[Sequence[Log], list[SegmentsRecord]], policy: Late, length: int
) -> None:
    logs, stream = drawn
    periods = EventTime(length=length * 1e-6, lateness=LATENESS, late=policy)
    found: dict[int, list[Row]] = {}
    with journal() as opened:
        for position, record in enumerate(stream):
            before, closed = found, ingest(opened, periods, record, position)
            found = stored_periods(opened) if closed else before
            assert {number: found[number] for number in before} == before
        left_out = [row for _, part in opened.late_rows() for row in tuples(part.rows)]
        late = sum(mark.late for mark in opened.marks.values())
    assert late == len(left_out) or policy == "next-period"
    assert sorted([*counted(found).elements(), *left_out]) == sorted(
        r for log in logs for r in log if isinstance(r, Row)
    )


@few
@given(silent_streams(), st.sampled_from(["next-period", "dead-letter", "drop"]), st.booleans(), st.data())
def test_where_segments_are_cut_changes_neither_periods_nor_late_rows(
    drawn: tuple[Sequence[Log], list[SegmentsRecord]], policy: Late, counts: bool, data: st.DataObject
) -> None:
    _, stream = drawn
    periods: AnyPeriods = EventTime(length=9e-6, lateness=LATENESS, late=policy)
    if counts:
        periods = EqualCount(count=4, lateness=LATENESS, late=policy)

    def found(records: list[SegmentsRecord]) -> tuple[dict[int, list[Row]], list[tuple[int, int]], object]:
        with journal() as opened:
            for position, record in enumerate(records):
                ingest(opened, periods, record, position)
            late = [(part.partition, offset) for _, part in opened.late_rows() for offset in part.offsets.tolist()]
            return stored_periods(opened), late, dict(opened.marks)

    recut: list[SegmentsRecord] = []
    for record in stream:
        if isinstance(record, Segment):
            cut = data.draw(st.integers(record.first_offset, record.next_offset))
            parts = [record.between(record.first_offset, cut), record.between(cut, record.next_offset)]
            recut += [part for part in parts if part.first_offset < part.next_offset]
        else:
            recut.append(record)
    assert found(recut) == found(stream)


@few
@given(silent_streams(), st.data())
def test_a_restart_anywhere_changes_nothing(
    drawn: tuple[Sequence[Log], list[SegmentsRecord]], data: st.DataObject
) -> None:
    _, stream = drawn
    kinds: list[AnyPeriods] = [EqualCount(count=4, lateness=LATENESS), EventTime(length=9e-6, lateness=0)]
    periods = data.draw(st.sampled_from(kinds))
    with folder_in_memory() as folder:
        path, cut = Path(folder) / "journal", data.draw(st.integers(0, len(stream)))
        for part in (stream[:cut], stream):  # the second time from the start: what is known is passed over
            with journal(path) as opened:
                for position, record in enumerate(part):
                    ingest(opened, periods, record, position)
                found, rows = stored_periods(opened), len(opened.open_rows)
                assert opened.open_period().rows == rows
    assert found == ingested(stream, periods)


def test_a_gap_stops_the_line_and_nothing_is_written(tmp_path: Path) -> None:
    rows = [Row(100 + i, i, i, 1) for i in range(20)]
    periods = EqualCount(count=2, lateness=0.0)
    with journal(tmp_path / "journal") as opened:
        ingest(opened, periods, PartitionSet(1), 0)
        ingest(opened, periods, segment(0, 0, rows[:7]), 1)
        before = (opened.position, dict(opened.marks), stored_periods(opened), len(opened.open_rows))
        with pytest.raises(OffsetGap) as caught:
            ingest(opened, periods, segment(0, 8, rows[8:12]), 2)
        assert (caught.value.expected, caught.value.got) == (7, 8)
        assert (opened.position, dict(opened.marks), stored_periods(opened), len(opened.open_rows)) == before
    with journal(tmp_path / "journal") as opened:
        assert (opened.position, dict(opened.marks), stored_periods(opened), len(opened.open_rows)) == before


def test_a_record_that_the_journal_has_is_passed_over() -> None:
    periods = EqualCount(count=3, lateness=0.0)
    stream: list[SegmentsRecord] = [PartitionSet(1), segment(0, 0, [Row(5, 0, 0, 1)]), PartitionSet(2)]
    with journal() as opened:
        for position, record in [*enumerate(stream), *enumerate(stream)]:
            assert ingest(opened, periods, record, position) == []
            assert opened.position in (position + 1, 3)
        assert (opened.position, opened.partitions, len(opened.open_rows)) == (3, 2, 1)


def test_a_crash_between_the_pieces_of_a_segment_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: Log = [*(Row(100 + i, 0, i, 1) for i in range(5)), END, *(Row(100 + i, 0, i, 0) for i in range(5)), END]
    stream: list[SegmentsRecord] = [PartitionSet(1), segment(0, 0, log)]
    periods, path = EqualCount(count=2, lateness=0.0), tmp_path / "journal"
    append = Journal.append

    def dies_at_the_second_piece(self: Journal, *given: Any) -> list[UpdatePeriod]:
        if self.mark(0).next_offset:
            raise KeyboardInterrupt
        return append(self, *given)

    monkeypatch.setattr(Journal, "append", dies_at_the_second_piece)
    with journal(path) as opened:
        ingest(opened, periods, stream[0], 0)
        with pytest.raises(KeyboardInterrupt):
            ingest(opened, periods, stream[1], 1)
    monkeypatch.undo()
    with journal(path) as opened:
        assert (opened.position, opened.mark(0).next_offset) == (1, 6)
        ingest(opened, periods, stream[1], 1)
        assert stored_periods(opened) == ingested(stream, periods)
        assert opened.open_period().rows + sum(closed.period.rows for closed in opened.periods()) == 10


def test_holes_inside_a_segment_and_a_first_offset_above_zero_are_normal() -> None:
    rows = Interactions(np.arange(3), np.arange(3), np.array([100, 101, 102]), np.ones(3, np.float32))
    stream: list[SegmentsRecord] = [
        PartitionSet(1),
        Segment(0, 50, 60, np.array([51, 55, 59]), rows),
        segment(0, 60, [END]),
    ]
    assert ingested(stream, EqualCount(count=3)) == {1: tuples(rows)}


def test_a_partition_without_rows_holds_everything_back_and_is_named() -> None:
    rows = [Row(100 + i, 0, i, 1) for i in range(50)]
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        ingest(opened, periods, segment(0, 0, rows), 0)
        assert opened.open_period().held_back_by == ()
        assert opened.open_period().partitions is None
        ingest(opened, periods, PartitionSet(2), 1)
        waiting = opened.open_period()
        assert (waiting.rows, waiting.watermark, waiting.held_back_by) == (50, None, (1,))
        assert opened.last_closed is None
        closed = ingest(opened, periods, segment(1, 0, [Row(112, 1, 0, 1)]), 2)
        assert [period.number for period in closed] == [1, 2]  # rows 100..109; 110 and 111 are final, but too few
        assert opened.open_period().watermark == 112
        assert opened.open_period().held_back_by == (1,)


def test_nothing_closes_before_the_partition_set_is_known() -> None:
    rows: Log = [*(Row(100 + i, 0, i, 1) for i in range(9)), END]
    assert ingested([segment(0, 0, rows)], EqualCount(count=3)) == {}
    assert len(ingested([segment(0, 0, rows), PartitionSet(1)], EqualCount(count=3))) == 3


def test_a_partition_that_appears_later_starts_at_the_current_watermark() -> None:
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        ingest(opened, periods, PartitionSet(1), 0)
        ingest(opened, periods, segment(0, 0, [Row(100 + i, 0, i, 1) for i in range(10)]), 1)
        ingest(opened, periods, PartitionSet(2), 2)
        assert opened.mark(1).watermark == 109
        ingest(opened, periods, segment(0, 10, [Row(110 + i, 0, i, 1) for i in range(10)]), 3)
        assert opened.open_period().watermark == 109  # held back by the new one
        ingest(opened, periods, segment(1, 7, [Row(50, 1, 1, 1), Row(130, 1, 1, 1)]), 4)
        assert opened.mark(1).late == 1
        periods_found = stored_periods(opened)
        assert periods_found[1] == [Row(100 + i, 0, i, 1) for i in range(5)]
        assert Row(50, 1, 1, 1) in periods_found[2]


def test_a_partition_that_appears_after_the_end_is_waited_for_and_its_old_rows_go_behind_what_is_closed() -> None:
    periods = EqualCount(count=2, lateness=0.0)
    with journal() as opened:
        ingest(opened, periods, PartitionSet(1), 0)
        ingest(opened, periods, segment(0, 0, [*(Row(100 + i, 0, i, 1) for i in range(3)), END]), 1)
        assert opened.open_period().watermark == END
        assert ingest(opened, periods, PartitionSet(2), 2) == []
        assert (opened.open_period().watermark, opened.open_period().held_back_by) == (None, (1,))
        assert ingest(opened, periods, segment(1, 0, [Row(90, 1, 1, 1), Row(103, 1, 2, 1)]), 3) == [
            UpdatePeriod(2, 102, 103, 2, used=2)
        ]
        assert opened.mark(1).late == 1
        ingest(opened, periods, segment(1, 2, [END]), 4)
        assert stored_periods(opened) == {
            1: [Row(100, 0, 0, 1), Row(101, 0, 1, 1)],
            2: [Row(90, 1, 1, 1), Row(102, 0, 2, 1)],
        }
        assert (opened.open_period().rows, opened.open_period().watermark) == (1, END)


def test_a_partition_that_appears_while_others_are_idle_starts_where_the_others_are() -> None:
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        ingest(opened, periods, PartitionSet(2), 0)
        ingest(opened, periods, segment(0, 0, [Row(100 + i, 0, i, 1) for i in range(12)]), 1)
        ingest(opened, periods, IdleMark(1, 0), 2)
        ingest(opened, periods, PartitionSet(3), 3)
        assert (opened.mark(2).watermark, opened.open_period().held_back_by) == (111, (0, 2))
        ingest(opened, periods, IdleMark(0, 12), 4)
        ingest(opened, periods, IdleMark(2, 0), 5)
        assert opened.open_period().watermark is None  # all are idle: there is no telling where the stream is
        ingest(opened, periods, PartitionSet(4), 6)
        assert (opened.mark(3).watermark, opened.open_period().held_back_by) == (None, (3,))
        closed = ingest(opened, periods, segment(3, 0, [Row(n, 3, n, 1) for n in (109, 110, 111, 112)]), 7)
        assert [(period.number, period.start) for period in closed] == [(3, 110)]
        assert opened.mark(3).late == 1  # 109: its period is closed; the others are not
        assert stored_periods(opened)[2] == [Row(105 + i, 0, 5 + i, 1) for i in range(5)]
        assert sorted(row.time for row in stored_periods(opened)[3]) == [109, 110, 110, 111, 111]


def test_a_partition_set_that_shrinks_is_stale_and_changes_nothing() -> None:
    with journal() as opened:
        ingest(opened, EqualCount(count=1, lateness=0.0), PartitionSet(2), 0)
        ingest(opened, EqualCount(count=1, lateness=0.0), segment(0, 0, [Row(100, 0, 0, 1), Row(101, 0, 0, 1)]), 1)
        before = dict(opened.marks)
        assert ingest(opened, EqualCount(count=1, lateness=0.0), PartitionSet(1), 2) == []
        assert (opened.position, opened.partitions, dict(opened.marks)) == (3, 2, before)
        assert opened.open_period().held_back_by == (1,)  # partition 1 is still waited for
        closed = ingest(opened, EqualCount(count=1, lateness=0.0), segment(1, 0, [Row(102, 1, 0, 1)]), 3)
        assert [period.number for period in closed] == [1]  # 101 is not final yet: partition 0 may bring another


def test_a_topic_that_was_made_anew_stops_the_line_and_nothing_is_stored() -> None:
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        for position, record in enumerate([PartitionSet(2, ""), PartitionSet(2, "first"), PartitionSet(3, "")]):
            ingest(opened, periods, record, position)  # a broker that says no id is believed
        assert (opened.topic_id, opened.partitions) == ("first", 3)
        before = dict(opened.marks)
        for count in (2, 3, 4):  # with fewer, as many and more partitions
            with pytest.raises(TopicRecreated, match=r"clicks .*first .* second.*worker --new-run"):
                ingest(opened, periods, PartitionSet(count, "second"), 3, source="clicks")
        assert (opened.position, opened.topic_id, opened.partitions, dict(opened.marks)) == (3, "first", 3, before)


def test_the_first_run_mark_names_the_run_and_that_of_another_stops_the_line() -> None:
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        ingest(opened, periods, RunMark("second"), 7)  # where the journal of a new run begins to read
        ingest(opened, periods, PartitionSet(1), 8)
        assert (opened.run, opened.position) == ("second", 9)
        with pytest.raises(NewerRun, match=r"run third .* run second.*worker --new-run"):
            ingest(opened, periods, RunMark("third"), 9)
        assert (opened.run, opened.position) == ("second", 9)
    with journal() as first:
        ingest(first, periods, PartitionSet(1), 0)
        with pytest.raises(NewerRun, match=r"run second .* the run before"):
            ingest(first, periods, RunMark("second"), 1)
        assert (first.run, first.position) == ("", 1)


def test_a_collector_of_an_earlier_run_does_not_decide_where_the_next_run_begins() -> None:
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        for position, record in enumerate([RunMark("second"), segment(0, 40, []), PartitionSet(1)]):
            ingest(opened, periods, record, position)
        with pytest.raises(OffsetGap) as gap:  # taken, it would have made the rows from 40 on repeats
            ingest(opened, periods, segment(0, 60, [Row(1, 1, 1, 1)]), 3)
        assert (gap.value.expected, gap.value.got, opened.position) == (40, 60, 3)
        ingest(opened, periods, segment(0, 40, [Row(1, 1, 1, 1)]), 3)
        assert (opened.mark(0).rows, opened.mark(0).next_offset) == (1, 41)


def test_an_idle_partition_holds_nothing_back_until_rows_come() -> None:
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        ingest(opened, periods, PartitionSet(2), 0)
        ingest(opened, periods, segment(0, 0, [Row(100 + i, 0, i, 1) for i in range(12)]), 1)
        ingest(opened, periods, segment(1, 0, [Row(101, 1, 0, 1)]), 2)
        assert ingest(opened, periods, IdleMark(1, 0), 3) == []  # decided before its row came
        assert [period.number for period in ingest(opened, periods, IdleMark(1, 1), 4)] == [1, 2]
        before = stored_periods(opened)
        assert ingest(opened, periods, segment(1, 1, [Row(102, 1, 7, 1), Row(115, 1, 8, 1)]), 5) == []
        assert (opened.mark(1).quiet, opened.mark(1).late) == ("", 1)
        ingest(opened, periods, segment(0, 12, [*(Row(112 + i, 0, i, 1) for i in range(10)), END]), 6)
        ingest(opened, periods, segment(1, 3, [END]), 7)
        after = stored_periods(opened)
        assert {number: after[number] for number in before} == before
        assert counted(after)[Row(102, 1, 7, 1)] == 1
        assert Row(102, 1, 7, 1) in after[3]


def test_an_idle_mark_does_not_hide_that_rows_before_it_never_came() -> None:
    """Retention was quicker than the collectors, or an old run's collector is back: nothing else may ever come."""
    periods = EqualCount(count=5, lateness=0.0)
    with journal() as opened:
        ingest(opened, periods, PartitionSet(2), 0)
        ingest(opened, periods, segment(0, 0, [Row(100 + i, 0, i, 1) for i in range(12)]), 1)
        ingest(opened, periods, segment(1, 0, [Row(101, 1, 0, 1)]), 2)
        with pytest.raises(OffsetGap, match=r"source partition 1: .* offset 1, got 4"):
            ingest(opened, periods, IdleMark(1, 4), 3)
        assert (opened.position, opened.mark(1).quiet, opened.last_closed) == (3, "", None)


def test_late_rows_of_several_records_wait_beside_each_other() -> None:
    periods = EqualCount(count=5, lateness=0.0, late="dead-letter")
    with journal() as opened:
        ingest(opened, periods, segment(0, 0, [Row(100, 0, 0, 1), Row(7, 0, 1, 1)]), 0)
        ingest(opened, periods, segment(0, 2, [Row(8, 0, 2, 1), Row(101, 0, 3, 1)]), 1)
        assert [tuples(part.rows) for _, part in opened.late_rows()] == [[Row(7, 0, 1, 1)], [Row(8, 0, 2, 1)]]


@pytest.mark.parametrize("policy", ["dead-letter", "drop"])
def test_a_row_of_a_closed_period_is_late_though_its_own_partition_is_behind(policy: Late) -> None:
    periods = EqualCount(count=5, lateness=0.0, late=policy)
    with journal() as opened:
        ingest(opened, periods, PartitionSet(2), 0)
        ingest(opened, periods, segment(0, 0, [Row(100 + i, 0, i, 1) for i in range(12)]), 1)
        assert [period.number for period in ingest(opened, periods, IdleMark(1, 0), 2)] == [1, 2]
        ingest(opened, periods, segment(1, 0, [Row(109, 1, 7, 1), Row(110, 1, 8, 1), END]), 3)
        ingest(opened, periods, segment(0, 12, [Row(111 + i, 0, i, 1) for i in range(4)] + [END]), 4)
        assert (opened.mark(1).late, opened.mark(1).dead_lettered + opened.mark(1).dropped) == (1, 1)
        assert Row(109, 1, 7, 1) not in counted(stored_periods(opened))
        assert Row(110, 1, 8, 1) in stored_periods(opened)[3]
        waiting = [(part.partition, part.offsets.tolist(), tuples(part.rows)) for _, part in opened.late_rows()]
        assert waiting == ([(1, [0], [Row(109, 1, 7, 1)])] if policy == "dead-letter" else [])
        closed = opened.closed_period(3)
        assert (closed.late, closed.dead_lettered, closed.dropped) == (
            (1, 1, 0) if policy == "dead-letter" else (1, 0, 1)
        )


@pytest.mark.parametrize("periods", [EqualCount(count=4, lateness=0.0), EventTime(length=4e-6, lateness=0.0)])
@pytest.mark.parametrize("together", [True, False])
def test_what_comes_after_an_end_mark_enters_a_later_period(periods: AnyPeriods, together: bool) -> None:
    first: Log = [*(Row(100 + i, 0, i, 1) for i in range(10)), END]
    again: Log = [*(Row(100 + i, 0, i, 0) for i in range(10)), END]
    parts = [segment(0, 0, [*first, *again])] if together else [segment(0, 0, first), segment(0, 11, again)]
    found = ingested([PartitionSet(1), *parts], periods)
    once = ingested([PartitionSet(1), segment(0, 0, first)], periods)
    assert {number: found[number] for number in once} == once
    everything = counted(found)
    assert set(everything.values()) == {1}
    assert len(everything) == 20
    assert {row.label for number, rows in found.items() for row in rows if number <= len(once)} == {1}


def test_an_end_mark_leaves_an_incomplete_count_open() -> None:
    with journal() as opened:
        ingest(opened, EqualCount(count=4), PartitionSet(1), 0)
        ingest(opened, EqualCount(count=4), segment(0, 0, [*(Row(100 + i, 0, i, 1) for i in range(10)), END]), 1)
        assert [closed.period.number for closed in opened.periods()] == [1, 2]
        assert (opened.open_period().rows, opened.open_period().watermark) == (2, END)


def test_windows_without_rows_close_unseen_and_keep_their_numbers() -> None:
    log: Log = [Row(5, 0, 0, 1), Row(37, 0, 0, 1), END]
    with journal() as opened:
        periods = EventTime(length=10e-6, lateness=0.0)
        ingest(opened, periods, PartitionSet(1), 0)
        ingest(opened, periods, segment(0, 0, log), 1)
        first, second = (closed.period for closed in opened.periods())
        assert (first.number, first.start, first.end, first.rows) == (1, 0, 10, 1)
        assert (second.number, second.start, second.end, second.rows) == (4, 30, 40, 1)


def test_ids_of_another_kind_are_refused_and_nothing_is_written() -> None:
    words = Interactions(np.array(["a"], object), np.array([1]), np.array([7]), np.ones(1, np.float32))
    with journal() as opened:
        ingest(opened, EqualCount(count=1), segment(0, 0, [Row(5, 0, 0, 1)]), 0)
        with pytest.raises(IncompatibleState, match="user_ids"):
            ingest(opened, EqualCount(count=1), Segment(0, 1, 2, np.array([1]), words), 1)
        assert (opened.position, opened.mark(0).next_offset, len(opened.open_rows)) == (1, 1, 1)


def test_string_ids_come_back_in_the_order_of_their_bytes() -> None:
    users = np.array(["é", "z", "a", "日本"], object)
    rows = Interactions(users, users, np.full(4, 9), np.zeros(4, np.float32))
    with journal() as opened:
        ingest(opened, EqualCount(count=4), PartitionSet(1), 0)
        (period,) = ingest(opened, EqualCount(count=4), Segment(0, 0, 5, np.arange(4), rows, ((4, END),)), 1)
        assert opened.interactions(period).users.tolist() == ["a", "z", "é", "日本"]


def test_a_segment_larger_than_a_batch_is_taken_in_pieces_and_is_one_answer() -> None:
    count, rows = 100_000, 300_000
    times = (np.arange(rows) * 7919) % rows  # a permutation
    labels = (times % 3 == 0).astype(np.float32)
    whole = Interactions(times % 1000, times % 77, times, labels)
    with journal() as opened:
        periods = EqualCount(count=count, lateness=1.0)
        ingest(opened, periods, PartitionSet(1), 0)
        ingest(opened, periods, Segment(0, 0, rows + 1, np.arange(rows), whole, ((rows, END),)), 1)
        assert opened.position == 2
        for number, closed in enumerate(opened.periods()):
            found, expected = opened.interactions(closed.period), np.arange(number * count, (number + 1) * count)
            np.testing.assert_array_equal(found.times, expected)
            np.testing.assert_array_equal(found.users, expected % 1000)
            np.testing.assert_array_equal(found.labels, expected % 3 == 0)
        assert number == 2

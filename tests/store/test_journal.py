"""The journal on a real disk: killed, locked, damaged, of another format, full, and read while it is written."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from journal_child import FIXED, PERIODS, SEGMENT_ROWS, SEGMENTS, stream
from segments_by_hand import Row, segment, stored_periods, tuples

from models.interactions import category_column
from models.learning import LearningSettings
from stream_app.errors import IncompatibleState, StopTheLine, StoreCorrupted, StoreLocked
from stream_app.events.periods import EqualCount
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END, PartitionSet, Segment, decode
from stream_app.events.watermark import PartitionMark
from stream_app.fixed import fixed_for_journal, fixed_for_store
from stream_app.pipeline import ingest
from stream_app.store.chunks import Chunk
from stream_app.store.database import Database
from stream_app.store.journal import Journal
from stream_app.store.journal_view import JournalView
from stream_app.store.late_outbox import LateRows
from stream_app.store.layout import ROWS, end_of, numbered, pack, unpack

TESTS = Path(__file__).resolve().parents[1]
FORMAT_1 = Path(__file__).with_name("journal-format-1.msgpack")


def filled(path: Path, segments: int = 10) -> dict[int, list[Row]]:
    """Make a journal of so many segments; returns its periods."""
    with Journal.open(path, FIXED) as journal:
        for position, record in enumerate(stream(segments)):
            ingest(journal, PERIODS, record, position)
        return stored_periods(journal)


@contextmanager
def child(task: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that works on the journal at `path`; killed at the end if it still runs."""
    places = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    process = subprocess.Popen(
        [sys.executable, str(TESTS / "store" / "journal_child.py"), task, str(path)],
        env={**os.environ, "PYTHONPATH": places},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def contents(path: Path) -> dict[str, str]:
    """Every file of a database and the digest of its bytes."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.iterdir()}


def settled(path: Path) -> None:
    """Have everything moved from the log into data files: opening it again does that."""
    for _ in range(2):
        Journal.open(path, FIXED).close()


def test_killed_anywhere_it_holds_whole_batches_and_ends_up_the_same(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    for kill_after in (1, 19, 44):
        with child("ingest", path) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= kill_after:
                    break
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        with Journal.open(path, FIXED) as journal:
            assert journal.position > kill_after
            rows = SEGMENT_ROWS * (journal.position - 1)
            assert journal.mark(0).next_offset == rows
            assert journal.open_period().rows + sum(c.period.rows for c in journal.periods()) == rows
            assert len(journal.open_rows) == journal.open_period().rows
    with child("ingest", path) as process:
        assert process.wait() == 0
    with Journal.open(path, FIXED) as journal:
        assert stored_periods(journal) == filled(tmp_path / "undisturbed", SEGMENTS)


def test_a_second_writer_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    filled(path)
    with child("hold", path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked) as caught:
            Journal.open(path, FIXED)
        assert caught.value.path == str(path)
        view = JournalView.beside(path)  # reading is allowed
        assert view is not None
        assert view.position == 11
        view.close()
        process.communicate("")
        assert process.returncode == 0
    Journal.open(path, FIXED).close()


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal", FIXED), pytest.raises(StoreLocked):
        Journal.open(tmp_path / "journal", FIXED)


def test_a_full_disk_stops_the_line_and_what_was_taken_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with child("full-disk", path) as process:
        answer, _ = process.communicate()
    taken, message = answer.split(" ", 1)
    assert 0 < int(taken) < SEGMENTS
    assert str(path) in message
    with Journal.open(path, FIXED) as journal:
        assert journal.position == int(taken)
        for position, record in enumerate(stream(SEGMENTS)):
            ingest(journal, PERIODS, record, position)
        assert stored_periods(journal) == filled(tmp_path / "undisturbed", SEGMENTS)


def test_after_a_failed_write_nothing_more_is_written(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal", FIXED) as journal:
        ingest(journal, PERIODS, PartitionSet(1), 0)
        with pytest.raises(OverflowError):  # msgpack cannot hold the position
            ingest(journal, PERIODS, stream(1)[1], 2**64)
        with pytest.raises(StopTheLine, match="closed"):
            ingest(journal, PERIODS, stream(1)[1], 1)
    with Journal.open(tmp_path / "journal", FIXED) as journal:
        assert (journal.position, len(journal.open_rows)) == (1, 0)


@pytest.mark.parametrize("record", [{"kind": "journal", "format": 3}, {"kind": "store", "format": 1}, "x"])
def test_an_unknown_format_or_kind_is_refused_and_no_byte_changes(tmp_path: Path, record: object) -> None:
    path = tmp_path / "journal"
    filled(path)
    database = Database.open(path)
    database.write({b"format": pack(record)})
    database.close()
    before = contents(path)
    with pytest.raises(IncompatibleState, match="journal"):
        Journal.open(path, FIXED)
    with pytest.raises(IncompatibleState):
        JournalView.beside(path)
    assert contents(path) == before


def test_a_journal_of_format_1_is_read_as_it_is_and_written_on_as_format_2(tmp_path: Path) -> None:
    """The records of five segments as the last release that wrote format 1 left them."""
    path = tmp_path / "journal"
    with closing(Database.open(path)) as database:
        database.write(dict(msgpack.unpackb(FORMAT_1.read_bytes())))
    before = contents(path)
    view = JournalView.beside(path)
    assert view is not None
    with view:
        assert (view.position, view.run, view.topic_id, view.segments_id) == (6, "", "", "")
        assert [(closed.period.rows, closed.late) for closed in view.periods()] == [(70, 56), (70, 86), (70, 144)]
        assert view.marks == {0: PartitionMark(250, 1084, "", rows=250, late=144)}
    assert contents(path) == before
    assert filled(path, segments=40) == filled(tmp_path / "whole", segments=40)
    with closing(Database.open(path, read_only=True)) as database:
        assert unpack(path, b"format", database.get(b"format") or b"") == {"kind": "journal", "format": 2}


def test_a_database_that_is_not_ours_is_refused_and_no_byte_changes(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "other")
    database.write({b"something": b"else"})
    database.close()
    before = contents(tmp_path / "other")
    with pytest.raises(IncompatibleState, match="not one of asmg-stream"):
        Journal.open(tmp_path / "other", FIXED)
    assert contents(tmp_path / "other") == before


@pytest.mark.parametrize(
    ("fixed", "named"),
    [
        ({**FIXED, "periods.count": 80}, ["periods.count", "70", "80"]),
        ({"periods.count": 70}, ["periods.lateness", "0.0", "not set"]),
        ({**FIXED, "user_ids": "int"}, ["user_ids", "not set", "int"]),
    ],
)
def test_another_value_of_a_fixed_setting_is_refused_by_name(
    tmp_path: Path, fixed: dict[str, object], named: list[str]
) -> None:
    path = tmp_path / "journal"
    filled(path)
    before = contents(path)
    with pytest.raises(IncompatibleState) as caught:
        Journal.open(path, fixed)
    assert all(word in str(caught.value) for word in named)
    assert contents(path) == before
    with Journal.open(path, dict(reversed(FIXED.items()))) as journal:
        assert journal.fixed == FIXED


@pytest.mark.parametrize("damage", ["CURRENT gone", "CURRENT", "MANIFEST-*", "MANIFEST-* gone", "*.sst", "*.sst gone"])
def test_damage_is_reported_and_never_taken_for_an_empty_journal(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal"
    filled(path, 40)
    settled(path)
    pattern, _, gone = damage.partition(" ")
    files = list(path.glob(pattern))
    assert files
    for file in files:
        content = file.read_bytes()
        if gone:
            file.unlink()
        else:
            file.write_bytes(bytes(255 - byte for byte in content[: len(content) // 2]) + content[len(content) // 2 :])

    def read_all() -> None:
        with Journal.open(path, FIXED) as journal:
            stored_periods(journal)

    with pytest.raises(StoreCorrupted) as caught:
        read_all()
    assert str(path) in str(caught.value)


def test_a_reader_does_not_take_damage_for_a_journal_not_yet_made(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    filled(path)
    settled(path)
    (path / "CURRENT").unlink()
    with pytest.raises(StoreCorrupted, match="CURRENT"):
        JournalView.beside(path)


def test_rows_that_are_gone_are_reported_not_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    filled(path)
    database = Database.open(path)
    database.write({}, deletes=[numbered(ROWS, 1)])
    database.close()
    view = JournalView.beside(path)
    assert view is not None
    with pytest.raises(StoreCorrupted, match="chunk 1"):
        stored_periods(view)
    view.close()


def test_a_reader_that_starts_first_sees_the_journal_once_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal"
    assert JournalView.beside(path) is None
    Database.open(path).close()  # its making was interrupted before the first record
    assert JournalView.beside(path) is None
    with Journal.open(path, FIXED):
        view = JournalView.beside(path)
        assert view is not None
        assert (view.position, view.last_closed, view.open_period().rows) == (0, None, 0)
        view.close()


def test_a_reader_sees_one_moment_until_it_refreshes(tmp_path: Path) -> None:
    path, records = tmp_path / "journal", stream(40)
    with Journal.open(path, FIXED) as journal:
        ingest(journal, PERIODS, records[0], 0)
        view = JournalView.beside(path)
        assert view is not None
        assert view.refresh() is False
        for position, record in enumerate(records[1:], 1):
            ingest(journal, PERIODS, record, position)
            assert view.position == position
            assert view.refresh() is True
            assert (view.position, dict(view.marks)) == (position + 1, dict(journal.marks))
            assert (view.last_closed, view.open_period()) == (journal.last_closed, journal.open_period())
            assert view.refresh() is False
        assert stored_periods(view) == stored_periods(journal)
        view.close()


def test_where_a_period_came_from_is_kept_with_it(tmp_path: Path) -> None:
    filled(tmp_path / "journal")
    with Journal.open(tmp_path / "journal", FIXED) as journal:
        # Row 70 must be behind the watermark: the second segment has rows 50 to 99.
        assert dict(journal.closed_period(1).offsets) == {0: 100}
        assert journal.closed_period(1).late > 0
        with pytest.raises(KeyError, match="period 99"):
            journal.closed_period(99)


def test_late_rows_wait_in_values_that_fit_and_come_back_as_they_were(tmp_path: Path) -> None:
    names = [("x" * 400, f"{row}") for row in range(6000)]
    part = named(segment(3, 50, [Row(row, row % 7, 2, 1) for row in range(6000)]), [tuple(sorted(n)) for n in names])
    late = np.arange(6000) % 2 == 0
    values = [value.encode() for value in LateRows.of(part, late).split()]
    assert len(values) > 1
    assert max(map(len, values)) <= 900_000
    back = [LateRows.decode(tmp_path, b"late/0", value) for value in values]
    assert {one.partition for one in back} == {3}
    assert [offset for one in back for offset in one.offsets.tolist()] == list(range(50, 6050, 2))
    assert [row for one in back for row in tuples(one.rows)] == tuples(part.interactions)[::2]
    assert [c for one in back if one.rows.categories is not None for c in one.rows.categories] == [
        tuple(sorted(n)) for n in names[::2]
    ]
    with pytest.raises(StoreCorrupted, match="late/0"):
        LateRows.decode(tmp_path, b"late/0", pack({**unpack(tmp_path, b"", values[0]), "offsets": b""}))
    with pytest.raises(IncompatibleState, match="'prices'"):
        LateRows.decode(tmp_path, b"late/0", pack({**unpack(tmp_path, b"", values[0]), "prices": [1]}))


def test_trimmed_rows_are_gone_and_all_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    before = filled(path, 40)
    with Journal.open(path, FIXED) as journal:
        chunks = len(journal_keys(path))
        journal.trim(before=20)
        kept = {number: rows for number, rows in before.items() if number >= 20}
        for number in before:
            period = journal.closed_period(number).period
            if number in kept:
                assert stored_periods_from(journal, number) == kept[number]
            else:
                with pytest.raises(IncompatibleState, match="no longer kept"):
                    journal.interactions(period)
        assert 0 < len(journal_keys(path)) < chunks * 0.6
        waiting = len(journal.open_rows)
    with Journal.open(path, FIXED) as journal:
        assert len(journal.open_rows) == waiting
        for position, record in enumerate(stream(60)):
            ingest(journal, PERIODS, record, position)
        complete = filled(tmp_path / "undisturbed", 60)
        for number in [n for n in complete if n >= 20]:
            assert stored_periods_from(journal, number) == complete[number]
        journal.trim(before=10_000)
        assert len(journal_keys(path)) < 6  # those with open rows


def stored_periods_from(journal: JournalView, number: int) -> list[Row]:
    """The rows of one period."""
    return tuples(journal.interactions(journal.closed_period(number).period))


def journal_keys(path: Path) -> list[bytes]:
    """The keys of all chunks, as a reader beside the writer sees them."""
    database = Database.open(path, read_only=True)
    keys = database.keys(ROWS, end_of(ROWS))
    database.close()
    return keys


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    filled(tmp_path / "journal")
    view = Database.open(tmp_path / "journal", read_only=True)
    with pytest.raises(StopTheLine):
        view.write({b"x": b"y"})
    view.close()


CATEGORISED = {**FIXED, "records.categories": True}


def named(part: Segment, categories: list[tuple[str, ...]]) -> Segment:
    """The same rows with categories, as they come from the topic."""
    rows = replace(part.interactions, categories=category_column(categories))
    received = decode(replace(part, interactions=rows).encode())
    assert isinstance(received, Segment)
    return received


def test_rows_that_differ_in_categories_alone_are_cut_alike_whatever_their_order(tmp_path: Path) -> None:
    same, periods = Row(5, 1, 1, 1), EqualCount(count=2, lateness=0.0)
    for number, order in enumerate(permutations([(), ("a",), ("a", "b"), ("b",)])):
        with Journal.open(tmp_path / str(number), CATEGORISED) as journal:
            ingest(journal, periods, PartitionSet(1), 0)
            ingest(journal, periods, named(segment(0, 0, [same, same]), list(order[:2])), 1)
            ingest(journal, periods, named(segment(0, 2, [same, same, END]), list(order[2:])), 2)
        view = JournalView.beside(tmp_path / str(number))
        assert view is not None
        found = [view.interactions(closed.period).categories for closed in view.periods()]
        assert [column.tolist() for column in found if column is not None] == [[(), ("a",)], [("a", "b"), ("b",)]]
        view.close()


def test_a_chunk_counts_the_bytes_of_categories(tmp_path: Path) -> None:
    names = [tuple(f"{row}-{number}".ljust(256, "x") for number in range(64)) for row in range(150)]
    part = named(segment(0, 0, [Row(row, 1, 1, 1) for row in range(150)]), names)
    chunks = list(Chunk(part.interactions, part.interactions.times).split())
    values = [chunk.encode() for chunk in chunks]
    assert len(values) > 1
    assert max(map(len, values)) <= 900_000
    back = [Chunk.decode(tmp_path, b"rows/0", value).rows.categories for value in values]
    assert [row for column in back if column is not None for row in column] == [tuple(sorted(row)) for row in names]


@pytest.mark.parametrize("with_them", [True, False])
def test_rows_with_categories_and_rows_without_do_not_mix(tmp_path: Path, with_them: bool) -> None:
    plain = segment(0, 0, [Row(5, 1, 1, 1)])
    wrong = plain if with_them else named(plain, [("a",)])
    with Journal.open(tmp_path / "journal", CATEGORISED if with_them else FIXED) as journal:
        ingest(journal, PERIODS, PartitionSet(1), 0)
        with pytest.raises(IncompatibleState, match=r"records\.categories"):
            ingest(journal, PERIODS, wrong, 1)
        assert (journal.position, len(journal.open_rows)) == (1, 0)
        ingest(journal, PERIODS, named(plain, [("a",)]) if with_them else plain, 1)
        assert len(journal.open_rows) == 1


def test_without_categories_a_chunk_is_what_it_was_before_there_were_any() -> None:
    rows = segment(0, 0, [Row(50, 5, 10, 1), Row(60, 6, 12, 0), Row(90, 9, 18, 1)]).interactions
    value = Chunk(rows, rows.times + 1).encode()
    assert hashlib.sha256(value).hexdigest() == "ada6a80d6a27446dfba67a0ee494c79baadd261322ba82e794d05cde11f62b89"


def test_a_column_that_is_not_known_is_refused_not_left_out(tmp_path: Path) -> None:
    rows = segment(0, 0, [Row(5, 1, 1, 1)]).interactions
    value = Chunk(rows, np.array([5])).encode()
    later = pack({**unpack(tmp_path, b"", value), "prices": [1]})
    with pytest.raises(IncompatibleState, match="'prices'"):
        Chunk.decode(tmp_path, b"rows/0", later)


def test_whether_there_are_categories_is_fixed_and_the_name_of_their_field_is_not(tmp_path: Path) -> None:
    def fixed(field: str) -> dict[str, Any]:
        return fixed_for_journal(RecordSettings(categories=field), PERIODS)

    for before, later in (("", "tags"), ("tags", "")):
        path = tmp_path / f"from-{before}"
        Journal.open(path, fixed(before)).close()
        with pytest.raises(IncompatibleState, match=rf"records\.categories was {bool(before)} .* is {bool(later)}"):
            Journal.open(path, fixed(later))
    Journal.open(tmp_path / "from-tags", fixed("genres")).close()
    stores = [fixed_for_store(RecordSettings(categories=field), PERIODS, LearningSettings()) for field in ("", "tags")]
    assert [store["records.categories"] for store in stores] == [False, True]
    assert [store["learning.base_model.hidden"] for store in stores] == [[12, 6], [20, 10]], "as the stream has them"

"""Segments: what is cut, what is refused, and that the bytes on the topic come back as they went."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.interactions import Interactions, category_column
from stream_app.errors import IncompatibleState, OffsetGap
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord, decode, fits


def segment(
    offsets: list[int], first: int, end: int, marks: tuple[tuple[int, int], ...] = (), strings: bool = False
) -> Segment:
    """A segment of partition 3 whose row at offset o is user o, item 2 * o, time 10 * o, label o % 2."""
    numbers = np.array(offsets, np.int64)
    users = np.array([f"user-{o}-é" for o in offsets], dtype=object) if strings else numbers.copy()
    rows = Interactions(users, numbers * 2, numbers * 10, (numbers % 2).astype(np.float32))
    return Segment(3, first, end, numbers, rows, marks)


def contents(part: Segment) -> tuple[object, ...]:
    rows = part.interactions
    columns = [column.tolist() for column in (part.offsets, rows.users, rows.items, rows.times, rows.labels)]
    return part.partition, part.first_offset, part.next_offset, columns, part.marks


@pytest.mark.parametrize("strings", [False, True])
@pytest.mark.parametrize("offsets", [[], [5], [5, 6, 9]])
def test_a_segment_comes_back_from_its_bytes_as_it_was(strings: bool, offsets: list[int]) -> None:
    sent = segment(offsets, 4, 12, ((7, 123), (11, END)), strings)
    received = decode(sent.encode())
    assert isinstance(received, Segment)
    assert contents(received) == contents(sent)
    assert received.interactions.times.dtype == np.int64
    assert received.interactions.labels.dtype == np.float32


def test_the_other_records_come_back_from_their_bytes() -> None:
    assert decode(PartitionSet(4, "pHkcVx").encode()) == PartitionSet(4, "pHkcVx")
    assert decode(RunMark("second").encode()) == RunMark("second")
    assert decode(IdleMark(2, 77).encode()) == IdleMark(2, 77)


def test_a_repeat_is_cut_by_offset_rows_and_marks() -> None:
    part = segment([5, 6, 9], 4, 12, ((7, 123), (11, END)))
    assert contents(part.after(4)) == contents(part)
    assert contents(part.after(7)) == contents(segment([9], 7, 12, ((7, 123), (11, END))))
    assert contents(part.after(10)) == contents(segment([], 10, 12, ((11, END),)))
    for known in (12, 40):
        assert contents(part.after(known)) == contents(segment([], known, known))


def test_missing_offsets_are_a_gap_that_names_what_is_missing() -> None:
    with pytest.raises(OffsetGap) as caught:
        segment([5], 4, 12).after(3)
    assert (caught.value.partition, caught.value.expected, caught.value.got) == (3, 3, 4)


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(0, 300), max_size=120), st.integers(290, 800), st.booleans(), st.data())
def test_split_parts_are_small_and_together_are_the_whole(
    offsets: set[int], limit: int, strings: bool, data: st.DataObject
) -> None:
    marked = data.draw(st.sets(st.integers(0, 300), max_size=20)) - offsets
    marks = tuple((offset, offset * 7) for offset in sorted(marked))
    whole = segment(sorted(offsets), 0, 301, marks, strings)
    parts = whole.split(limit + 60 * strings)
    assert all(len(part.encode()) <= limit + 60 * strings for part in parts)
    assert [part.first_offset for part in parts] == [0, *(part.next_offset for part in parts[:-1])]
    assert parts[-1].next_offset == 301
    assert sorted(offsets) == [o for part in parts for o in part.offsets.tolist()]
    assert whole.interactions.users.tolist() == [u for part in parts for u in part.interactions.users.tolist()]
    assert marks == tuple(mark for part in parts for mark in part.marks)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(650, 1500))
def test_rows_of_one_message_are_never_parted(messages: list[int], limit: int) -> None:
    offsets = [2 * offset for offset, rows in enumerate(messages) for _ in range(rows)]
    whole = segment(offsets, 0, 2 * len(messages))
    parts = whole.split(limit)
    assert all(len(part.encode()) <= limit for part in parts)
    assert offsets == [o for part in parts for o in part.offsets.tolist()]
    for before, after in pairwise(parts):
        assert before.next_offset == after.first_offset
        assert before.offsets[-1] < after.offsets[0]
    cut = whole.after(offsets[-1])
    assert cut.offsets.tolist() == [offsets[-1]] * messages[-1]


def test_what_fits_into_a_segment_is_known_before() -> None:
    rows = segment([7] * 30, 7, 8)
    largest = next(limit for limit in range(2000) if fits(rows.interactions, limit))
    assert [contents(part) for part in rows.split(largest)] == [contents(rows)]
    with pytest.raises(ValueError, match="does not fit"):
        rows.split(largest - 1)


def test_a_row_larger_than_the_limit_is_named_not_sent() -> None:
    rows = Interactions(np.array(["x" * 1000], object), np.array([1]), np.array([1]), np.ones(1, np.float32))
    with pytest.raises(ValueError, match="does not fit"):
        Segment(0, 0, 1, np.array([0]), rows).split(900)


def test_an_end_mark_is_the_last_record_of_its_piece() -> None:
    part = segment([1, 3, 4], 0, 6, ((2, END), (5, END)))
    assert [contents(piece) for piece in part.cut_after_ends()] == [
        contents(segment([1], 0, 3, ((2, END),))),
        contents(segment([3, 4], 3, 6, ((5, END),))),
    ]
    assert len(segment([1], 0, 6, ((2, 50),)).cut_after_ends()) == 1


def test_an_unknown_format_is_refused_and_named() -> None:
    packed = msgpack.unpackb(segment([5], 4, 12).encode())
    with pytest.raises(IncompatibleState, match="format 3"):
        decode(msgpack.packb({**packed, "format": 3}))


def test_every_truncated_segment_is_refused() -> None:
    message = segment([5, 6], 4, 12, ((7, 123),), strings=True).encode()
    for length in range(len(message)):
        with pytest.raises(IncompatibleState):
            decode(message[:length])


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "table"},
        {"offsets": b"\0" * 7},
        {"offsets": np.array([6, 5], "<i8").tobytes()},
        {"offsets": np.array([3, 5], "<i8").tobytes()},
        {"offsets": np.array([5, 12], "<i8").tobytes()},
        {"times": np.array([1], "<i8").tobytes()},
        {"users": [1, 2]},
        {"users": ["a", b"b"]},
        {"users": None},
        {"marks": [[99, 1]]},
        {"marks": [[5, 2**63]]},
        {"marks": [[5]]},
        {"marks": [[5, 1], [5, 2]]},
        {"first": -1},
        {"first": "x"},
        {"next": 3},
        {"next": 2**63},
        {"first": float("inf")},
        {"partition": -1},
    ],
)
def test_a_segment_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    packed = msgpack.unpackb(segment([5, 6], 4, 12).encode())
    with pytest.raises(IncompatibleState):
        decode(msgpack.packb({**packed, **change}))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_foreign_bytes_are_refused(message: bytes) -> None:
    with pytest.raises(IncompatibleState):
        decode(message)


NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=90), max_size=20)


def named(part: Segment, categories: list[list[str]]) -> Segment:
    return replace(part, interactions=replace(part.interactions, categories=category_column(categories)))


def categories_of(part: Segment) -> list[tuple[str, ...]]:
    assert part.interactions.categories is not None
    return part.interactions.categories.tolist()


FORMAT_1 = bytes.fromhex(
    "8ca6666f726d617401a46b696e64a77365676d656e74a9706172746974696f6e03a5666972737404a46e6578740ca76f66667365"
    "7473c418050000000000000006000000000000000900000000000000a56d61726b739292077b920bcf7fffffffffffffffa57573"
    "65727393a9757365722d352dc3a9a9757365722d362dc3a9a9757365722d392dc3a9a56974656d73c4180a000000000000000c00"
    "0000000000001200000000000000a574696d6573c41832000000000000003c000000000000005a00000000000000a66c6162656c"
    "73c40c0000803f000000000000803faa63617465676f726965739392a161a1629091a178"
)
"""A segment as the release before topic ids and runs wrote it."""


def test_records_of_format_1_are_still_read() -> None:
    received = decode(FORMAT_1)
    assert isinstance(received, Segment)
    assert contents(received) == contents(segment([5, 6, 9], 4, 12, ((7, 123), (11, END)), strings=True))
    assert categories_of(received) == [("a", "b"), (), ("x",)]
    partitions, idle = map(
        bytes.fromhex,
        (
            "83a6666f726d617401a46b696e64aa706172746974696f6e73a5636f756e7404",
            "84a6666f726d617401a46b696e64a469646c65a9706172746974696f6e02a3656e644d",
        ),
    )
    assert decode(partitions) == PartitionSet(4, "")
    assert decode(idle) == IdleMark(2, 77)


@pytest.mark.parametrize("offsets", [[], [5], [5, 6, 9]])
def test_categories_come_back_from_their_bytes(offsets: list[int]) -> None:
    given = [["b", "a"], [], ["é", "\U0001f600"]][: len(offsets)]
    plain = segment(offsets, 4, 12, ((7, 123),))
    message = named(plain, given).encode()
    received = decode(message)
    assert isinstance(received, Segment)
    assert contents(received) == contents(plain)
    assert categories_of(received) == [("a", "b"), (), ("é", "\U0001f600")][: len(offsets)]
    assert msgpack.unpackb(message)["format"] == 2
    assert list(msgpack.unpackb(message))[-1] == "categories"
    rest = received.after(6)
    assert categories_of(rest) == categories_of(received)[1:]


@settings(max_examples=50, deadline=None)
@given(st.lists(NAMES, max_size=40), st.booleans())
def test_split_counts_the_bytes_of_categories(categories: list[list[str]], strings: bool) -> None:
    largest = max((sum(len(name.encode()) for name in names) for names in categories), default=0)
    limit = largest + 550
    whole = named(segment(list(range(len(categories))), 0, 50, (), strings), categories)
    parts = whole.split(limit)
    assert all(len(part.encode()) <= limit for part in parts)
    assert categories_of(whole) == [row for part in parts for row in categories_of(part)]


@pytest.mark.parametrize(
    "column",
    [
        None,
        5,
        "ab",
        {"a": 1},
        [["a"]],
        [["a"], "bc"],
        [["a"], None],
        [["a"], [1]],
        [["a"], [b"b"]],
        [["a"], [["b"]]],
        [["a"], ["b", "a"]],
        [["a"], ["b", "b"]],
    ],
)
def test_a_column_of_categories_that_is_none_is_refused(column: object) -> None:
    packed = msgpack.unpackb(named(segment([5, 6], 4, 12), [["a"], ["b"]]).encode())
    with pytest.raises(IncompatibleState):
        decode(msgpack.packb({**packed, "categories": column}))


def test_categories_that_would_have_two_orders_are_not_sent() -> None:
    column = np.empty(1, object)
    column[0] = ("b", "a")
    part = segment([5], 4, 12)
    with pytest.raises(ValueError, match="sorted tuple"):
        replace(part, interactions=replace(part.interactions, categories=column)).encode()


@pytest.mark.parametrize("record", [segment([5], 4, 12), PartitionSet(3), IdleMark(1, 5), RunMark("a")])
def test_a_key_of_a_later_release_is_refused_and_named(record: SegmentsRecord) -> None:
    packed = msgpack.unpackb(record.encode())
    with pytest.raises(IncompatibleState, match="'prices'"):
        decode(msgpack.packb({**packed, "prices": [1]}))

"""What a serving process takes out of the records of the segments topic: each positive once."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from models.interactions import Interactions, category_column
from stream_app.errors import IncompatibleState
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.subscriber.histories.positives import NewRun, Positives, SegmentRows


def segment(first: int, following: int, partition: int = 0, **columns: Any) -> Segment:
    """Row n is of user n, item 10 n, time 100 n; only odd ones are positive."""
    at = np.arange(first, following)
    rows = Interactions(at, 10 * at, 100 * at, (at % 2).astype(np.float32), **columns)
    return Segment(partition, first, following, at, rows, ((following - 1, END),) if following > first else ())


def users(rows: SegmentRows, record: SegmentsRecord) -> list[int]:
    said = rows.take(record.encode())
    assert isinstance(said, Positives)
    assert said.items.tolist() == [10 * user for user in said.users.tolist()]
    assert said.times.tolist() == [100 * user for user in said.users.tolist()]
    assert not said.hole
    return list(said.users.tolist())


def test_rows_that_were_sent_before_are_cut_in_whatever_pieces_they_come_again() -> None:
    rows = SegmentRows("int", "int")
    assert users(rows, segment(4, 8)) == [5, 7], "the first segment may begin anywhere"
    assert users(rows, segment(6, 10)) == [9]
    assert users(rows, segment(4, 6)) == []
    assert users(rows, segment(4, 12)) == [11]
    assert users(rows, segment(4, 12, partition=1)) == [5, 7, 9, 11], "another partition has offsets of its own"
    assert users(rows, segment(12, 12)) == []


def test_categories_change_nothing() -> None:
    assert users(SegmentRows("int", "int"), segment(0, 4, categories=category_column([["a"]] * 4))) == [1, 3]


def test_another_topic_of_that_name_begins_with_offsets_of_its_own() -> None:
    rows = SegmentRows("int", "int")
    for topic_id, found in (("one", [1, 3]), ("one", []), ("", []), ("two", [1, 3]), ("two", [])):
        assert rows.take(PartitionSet(1, topic_id).encode()) is None
        assert users(rows, segment(0, 4)) == found


def test_what_is_said_beside_rows() -> None:
    rows = SegmentRows("int", "int")
    assert rows.take(IdleMark(0, 5).encode()) is None
    assert rows.take(RunMark("next").encode()) == NewRun()
    assert rows.take(msgpack.packb({"format": 1, "kind": "partitions", "count": 2})) is None


@pytest.mark.parametrize("column", ["users", "items", "times", "labels", "offsets"])
def test_columns_of_different_lengths_are_refused_and_nothing_is_taken(column: str) -> None:
    rows, packed = SegmentRows("int", "int"), msgpack.unpackb(segment(0, 4).encode())
    with pytest.raises(IncompatibleState, match="length"):
        rows.take(msgpack.packb(packed | {column: packed[column][8:]}))
    assert users(rows, segment(0, 4)) == [1, 3]


def test_ids_of_another_kind_are_refused_and_nothing_is_taken() -> None:
    rows = SegmentRows("int", "int")
    packed = msgpack.unpackb(segment(0, 4).encode())
    with pytest.raises(IncompatibleState, match="string"):
        rows.take(msgpack.packb(packed | {"items": ["a", "b", "c", "d"]}))
    assert users(rows, segment(0, 4)) == [1, 3]

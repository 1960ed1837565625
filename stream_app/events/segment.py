"""The records of the segments topic: what `collect` has read and decided, and all that the journal is made from.

1. A `Segment` covers the offsets [first_offset, next_offset) of one source partition without a hole; offsets in there
   that carry no row had no valid interaction (a bad record, a transaction's mark, compacted away).
2. What overlaps is cut by offset (`after`); what is missing between two segments is an `OffsetGap`.
3. Rows of one message share its offset and stay together: a segment is cut between offsets only.
4. A record of a format that we do not read is `IncompatibleState`, never skipped (`stream_app.wire`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.interactions import Interactions
from stream_app.errors import OffsetGap
from stream_app.events.columns import groups, pack_columns, row_bytes, unpack_columns
from stream_app.wire import as_text, pack_record, unpack_numbers, unpack_record

END = 2**63 - 1
"""The time of a mark that says: nothing more comes from this partition (end of a recording)."""

LIMIT = 900_000
"""Bytes that the message of a segment may have."""

_OFFSET_BYTES = 8
_MARK_BYTES = 20
_HEADER_BYTES = 250


@dataclass(frozen=True, eq=False)
class Segment:
    """A run of one source partition.

    offsets: int64 [n], of the rows, never falling, within [first_offset, next_offset); interactions: n rows;
    marks: (offset, time in microseconds) of the producer's watermark records, by offset: no earlier row follows.
    Raises ValueError when these do not fit each other.
    """

    partition: int
    first_offset: int
    next_offset: int
    offsets: NDArray[np.int64]
    interactions: Interactions
    marks: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.interactions):
            raise ValueError(f"{len(self.offsets)} offsets for {len(self.interactions)} rows")
        if not 0 <= self.first_offset <= self.next_offset <= END or self.partition < 0:
            raise ValueError(f"no range of offsets: [{self.first_offset}, {self.next_offset})")
        if not all(-END <= time <= END for _, time in self.marks):
            raise ValueError("the time of a watermark record does not fit into 64 bits")
        marked = np.array([offset for offset, _ in self.marks], np.int64)
        for offsets, follows in ((self.offsets, np.greater_equal), (marked, np.greater)):
            if len(offsets) and not (offsets[0] >= self.first_offset and offsets[-1] < self.next_offset):
                raise ValueError(f"an offset lies outside of [{self.first_offset}, {self.next_offset})")
            if len(offsets) > 1 and not bool(follows(offsets[1:], offsets[:-1]).all()):
                raise ValueError("offsets are not in order")

    def __len__(self) -> int:
        return len(self.offsets)

    def after(self, next_offset: int) -> Segment:
        """What lies at or after `next_offset`; empty when all of it is known. Raises OffsetGap."""
        if self.first_offset > next_offset:
            raise OffsetGap(self.partition, next_offset, self.first_offset)
        return self.between(next_offset, max(self.next_offset, next_offset))

    def between(self, first_offset: int, next_offset: int) -> Segment:
        """The part of it in [first_offset, next_offset); columns are views."""
        rows = slice(*np.searchsorted(self.offsets, (first_offset, next_offset)).tolist())
        return Segment(
            self.partition,
            first_offset,
            next_offset,
            self.offsets[rows],
            self.interactions.select(rows),
            tuple(mark for mark in self.marks if first_offset <= mark[0] < next_offset),
        )

    def split(self, limit: int = LIMIT) -> list[Segment]:
        """Segments of at most `limit` encoded bytes each that together cover the same offsets; at least one.

        Raises ValueError when the rows of a single message are larger (see `fits`).
        """
        marks = np.array([offset for offset, _ in self.marks], np.int64)
        offsets = np.concatenate([self.offsets, marks])
        sizes = np.concatenate([_sizes(self.interactions), np.full(len(marks), _MARK_BYTES)])
        if sizes.sum() + _HEADER_BYTES <= limit:
            return [self]
        messages, number = np.unique(offsets, return_inverse=True)
        starts = groups(np.bincount(number, sizes).astype(np.int64), limit - _HEADER_BYTES)
        return list(self._cut_at(messages[starts[1:]].tolist()))

    def cut_after_ends(self) -> list[Segment]:
        """Segments that together cover the same offsets and hold an END mark only as their last record."""
        cuts = [offset + 1 for offset, time in self.marks if time == END]
        return list(self._cut_at([cut for cut in cuts if cut < self.next_offset]))

    def _cut_at(self, cuts: list[int]) -> Iterator[Segment]:
        if not cuts:
            yield self
            return
        for first, last in zip([self.first_offset, *cuts], [*cuts, self.next_offset], strict=True):
            yield self.between(first, last)

    def encode(self) -> bytes:
        """The message for the segments topic."""
        return pack_record(
            "segment",
            partition=self.partition,
            first=self.first_offset,
            next=self.next_offset,
            offsets=self.offsets.astype("<i8", copy=False).tobytes(),
            marks=self.marks,
            **pack_columns(self.interactions),
        )


def fits(interactions: Interactions, limit: int = LIMIT) -> bool:
    """Whether a segment can carry these rows of a single message: `limit` is what its message may have in bytes."""
    return int(_sizes(interactions).sum()) + _HEADER_BYTES <= limit


@dataclass(frozen=True)
class PartitionSet:
    """How many partitions the source topic has: 0 to count - 1. Nothing closes before this is known."""

    count: int
    topic_id: str = ""
    """Kafka's id of the source topic, another one when it is made anew; "" where the broker does not say it."""

    def encode(self) -> bytes:
        """The message for the segments topic."""
        return pack_record("partitions", count=self.count, topic_id=self.topic_id)


@dataclass(frozen=True)
class IdleMark:
    """`collect` saw that nothing came into this partition for long: it is at its end, at `end_offset`."""

    partition: int
    end_offset: int

    def encode(self) -> bytes:
        """The message for the segments topic."""
        return pack_record("idle", partition=self.partition, end=self.end_offset)


@dataclass(frozen=True)
class RunMark:
    """A run begins here: what stands before it in the topic belongs to others. `run` is its name, never empty."""

    run: str

    def encode(self) -> bytes:
        """The message for the segments topic."""
        return pack_record("run", run=self.run)


SegmentsRecord = Segment | PartitionSet | IdleMark | RunMark
"""Whatever the segments topic may carry."""


def decode(message: bytes) -> SegmentsRecord:
    """The record in a message of the segments topic. Raises IncompatibleState when it is none that we read."""
    return unpack_record(message, _decoded)


def _decoded(packed: Mapping[str, Any]) -> SegmentsRecord:
    if packed["kind"] == "partitions":
        return PartitionSet(int(packed["count"]), as_text(packed["topic_id"]) if packed["format"] > 1 else "")
    if packed["kind"] == "idle":
        return IdleMark(int(packed["partition"]), int(packed["end"]))
    if packed["kind"] == "run":
        return RunMark(as_text(packed["run"]))
    if packed["kind"] != "segment":
        raise ValueError(f"unknown kind {packed['kind']!r}")
    marks = tuple((int(offset), int(time)) for offset, time in packed["marks"])
    offsets = unpack_numbers(packed["offsets"])
    return Segment(
        int(packed["partition"]), int(packed["first"]), int(packed["next"]), offsets, unpack_columns(packed), marks
    )


def _sizes(interactions: Interactions) -> NDArray[np.int64]:
    """The most bytes that each row takes in a segment."""
    return row_bytes(interactions) + _OFFSET_BYTES

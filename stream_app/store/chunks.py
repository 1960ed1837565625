"""Rows of the journal as values of the database: columns of at most 900 KB, each row stored once, where it arrived.

A chunk's index entry says which assigned times it spans, so that a period is read from the chunks that hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.interactions import Interactions
from stream_app.errors import IncompatibleState, StoreCorrupted
from stream_app.events.columns import groups, pack_columns, row_bytes, unpack_columns
from stream_app.events.periods import UpdatePeriod
from stream_app.store.database import VALUE_LIMIT
from stream_app.store.layout import pack, unpack
from stream_app.wire import unknown, unpack_numbers

_TIME_BYTES = 8
_HEADER_BYTES = 100


@dataclass(frozen=True)
class Span:
    """The index entry of a chunk: smallest and largest assigned time (microseconds) and number of rows."""

    smallest: int
    largest: int
    rows: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows and the times that they were assigned to, int64 [n]."""

    rows: Interactions
    assigned: NDArray[np.int64]

    @property
    def span(self) -> Span:
        """Its index entry; the chunk must have a row."""
        return Span(int(self.assigned.min()), int(self.assigned.max()), len(self.rows))

    def split(self) -> Iterator[Chunk]:
        """Chunks with these rows, in this order, that each fit into one value; none when there are no rows."""
        starts = groups(row_bytes(self.rows) + _TIME_BYTES, VALUE_LIMIT - _HEADER_BYTES).tolist()
        for first, last in pairwise([*starts, len(self.rows)]):
            yield Chunk(self.rows.select(slice(first, last)), self.assigned[first:last])

    def encode(self) -> bytes:
        """Its value. Assigned times are stored only where they are not the event times."""
        late = not np.array_equal(self.assigned, self.rows.times)
        return pack({**pack_columns(self.rows), "assigned": self.assigned.astype("<i8").tobytes() if late else None})

    @staticmethod
    def decode(path: Path, key: bytes, value: bytes) -> Chunk:
        """The chunk of `value`. Raises StoreCorrupted, IncompatibleState (unknown columns), naming database and key."""
        packed = unpack(path, key, value)
        try:
            if keys := unknown(packed, ("assigned",)):
                raise IncompatibleState(f"{path}: record {key!r} holds {keys}; use the release that wrote it")
            rows = unpack_columns(packed)
            assigned = rows.times if packed["assigned"] is None else unpack_numbers(packed["assigned"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreCorrupted(f"{path}: record {key!r} holds no rows: {error}") from error
        if len(assigned) != len(rows):
            raise StoreCorrupted(f"{path}: record {key!r} holds {len(assigned)} assigned times for {len(rows)} rows")
        return Chunk(rows, assigned)

    def within(self, first: int, end: int) -> Chunk:
        """The rows assigned to [first, end)."""
        inside = (self.assigned >= first) & (self.assigned < end)
        return self if bool(inside.all()) else Chunk(self.rows.select(inside), self.assigned[inside])


def rows_of(period: UpdatePeriod, chunks: list[Chunk]) -> Interactions:
    """The rows of `period`, in canonical order, out of all rows assigned to its [start, end).

    Raises ValueError when there are fewer than the period has.
    """
    inside = [chunk.within(period.start, period.end) for chunk in chunks]
    rows = Interactions.concatenate([chunk.rows for chunk in inside]) if inside else Interactions.empty()
    if len(rows) < period.skip + period.rows:
        raise ValueError(f"{len(rows)} rows where {period.skip + period.rows} should be")
    if len(rows) == period.rows:
        return rows.canonical()
    assigned = np.concatenate([chunk.assigned for chunk in inside])
    canonical = rows.canonical_order()
    order = canonical[np.argsort(assigned[canonical], kind="stable")]
    return rows.select(order[period.skip : period.skip + period.rows]).canonical()

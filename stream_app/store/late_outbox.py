"""Late rows that wait in the journal for the dead-letter topic.

They are written in the batch that moves their partition past them, so that no crash loses them, and deleted once Kafka
has them. What a crash in between has left is sent again, under the same keys.
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
from stream_app.events.segment import Segment
from stream_app.store.database import VALUE_LIMIT
from stream_app.store.layout import pack, unpack
from stream_app.wire import unknown, unpack_numbers

ALONE = -1
"""The number of a row that is the only one of its message."""

_ORIGIN_BYTES = 16
_HEADER_BYTES = 100


@dataclass(frozen=True, eq=False)
class LateRows:
    """Late rows of one source partition: the offset of each one's message and its number among the rows of that."""

    partition: int
    offsets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    rows: Interactions

    @staticmethod
    def of(segment: Segment, late: NDArray[np.bool_]) -> LateRows:
        """The rows of `segment` that `late` (bool [n]) marks."""
        offsets = segment.offsets
        first, end = np.searchsorted(offsets, offsets), np.searchsorted(offsets, offsets, side="right")
        numbers = np.where(end - first > 1, np.arange(len(offsets)) - first, ALONE)
        return LateRows(segment.partition, offsets[late], numbers[late], segment.interactions.select(late))

    def __len__(self) -> int:
        return len(self.offsets)

    def split(self) -> Iterator[LateRows]:
        """The same rows in parts that each fit into one value; none when there are no rows."""
        starts = groups(row_bytes(self.rows) + _ORIGIN_BYTES, VALUE_LIMIT - _HEADER_BYTES).tolist()
        for first, last in pairwise([*starts, len(self)]):
            part = slice(first, last)
            yield LateRows(self.partition, self.offsets[part], self.numbers[part], self.rows.select(part))

    def encode(self) -> bytes:
        """The value of these rows."""
        offsets, numbers = (column.astype("<i8").tobytes() for column in (self.offsets, self.numbers))
        return pack({"partition": self.partition, "offsets": offsets, "numbers": numbers, **pack_columns(self.rows)})

    @staticmethod
    def decode(path: Path, key: bytes, value: bytes) -> LateRows:
        """The rows of `value`. Raises StoreCorrupted, IncompatibleState (unknown columns), naming database and key."""
        packed = unpack(path, key, value)
        try:
            if keys := unknown(packed, ("partition", "offsets", "numbers")):
                raise IncompatibleState(f"{path}: record {key!r} holds {keys}; use the release that wrote it")
            offsets, numbers = unpack_numbers(packed["offsets"]), unpack_numbers(packed["numbers"])
            found = LateRows(int(packed["partition"]), offsets, numbers, unpack_columns(packed))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreCorrupted(f"{path}: record {key!r} holds no late rows: {error}") from error
        if not len(offsets) == len(numbers) == len(found.rows):
            raise StoreCorrupted(f"{path}: record {key!r} holds {len(offsets)} offsets for {len(found.rows)} rows")
        return found

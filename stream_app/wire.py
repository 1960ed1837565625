"""The records of the segments topic as bytes, without the types that they become: msgpack and numpy are all it takes.

`events.segment` makes records of them, a serving process (which has no `models`) the histories of its users. Both read
formats 1 (before topic ids and runs) and 2; anything else is `IncompatibleState`, never skipped: neither a record nor
a key of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgpack
import numpy as np
from numpy.typing import NDArray

from stream_app.errors import IncompatibleState

FORMAT = 2
_READ = (1, 2)

COLUMNS = frozenset({"users", "items", "times", "labels", "categories"})
"""The keys of packed interactions."""

_KEYS = ("format", "kind", "partition", "first", "next", "offsets", "marks", "count", "topic_id", "end", "run")

_Made = TypeVar("_Made")


def pack_record(kind: str, **fields: Any) -> bytes:
    """A message for the segments topic."""
    packed: bytes = msgpack.packb({"format": FORMAT, "kind": kind, **fields})
    return packed


def unpack_record(message: bytes, make: Callable[[Mapping[str, Any]], _Made]) -> _Made:
    """What `make` makes of the fields of a message; it raises ValueError, KeyError, TypeError or OverflowError where
    they are not what it needs. Raises IncompatibleState when the message is no record that we read."""
    try:
        packed = msgpack.unpackb(message)
        if packed["format"] not in _READ:
            raise IncompatibleState(
                f"the segments topic holds a record of format {packed['format']!r}, this program reads {_READ}; "
                "use the release that wrote it"
            )
        if keys := unknown(packed, _KEYS):
            raise IncompatibleState(
                f"the segments topic holds a record with {keys}, which this program does not know; "
                "use the release that wrote it"
            )
        return make(packed)
    except (ValueError, KeyError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise IncompatibleState(
            f"the segments topic holds a message of {len(message)} bytes that is no segment ({error!r}); "
            "is the topic name right, and does only asmg write to it?"
        ) from error


def unknown(packed: Mapping[str, Any], others: Iterable[str]) -> str:
    """The keys of `packed` that are neither columns nor `others` (a later release wrote them), "" if none."""
    return ", ".join(sorted(map(repr, packed.keys() - COLUMNS - set(others))))


def unpack_numbers(packed: bytes) -> NDArray[np.int64]:
    """A packed int64 column. Raises ValueError, TypeError."""
    return np.frombuffer(packed, dtype="<i8")


def unpack_labels(packed: bytes) -> NDArray[np.float32]:
    """A packed float32 column. Raises ValueError, TypeError."""
    return np.frombuffer(packed, dtype="<f4")


def unpack_ids(packed: bytes | list[str]) -> NDArray[Any]:
    """A packed column of ids: int64, or objects that are all `str`. Raises ValueError, TypeError."""
    if isinstance(packed, bytes):
        return unpack_numbers(packed)
    if not isinstance(packed, list) or not all(type(text) is str for text in packed):
        raise TypeError("a column of ids is neither numbers nor strings")
    return np.array(packed, dtype=object)


def as_text(value: Any) -> str:
    """A text as it is. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value

"""Records of the segments topic as positives: each row once, whatever was sent again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.errors import IncompatibleState
from stream_app.wire import as_text, unpack_ids, unpack_labels, unpack_numbers, unpack_record


@dataclass(frozen=True, eq=False)
class Positives:
    """users, items: int64 or `str` objects; times: int64, event time in microseconds; all [n], in order of offset.

    hole: what was missing before them, "" if nothing.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    times: NDArray[np.int64]
    hole: str = ""


@dataclass(frozen=True)
class NewRun:
    """What stands before it in the topic belongs to another run, which may have read the same rows."""


@dataclass(frozen=True)
class _Source:
    topic_id: str


@dataclass(frozen=True, eq=False)
class _Rows:
    partition: int
    first: int
    next: int
    offsets: NDArray[np.int64]
    labels: NDArray[np.float32]
    all: Positives


class SegmentRows:
    """What the records say, one after the other, from any record of the topic on."""

    def __init__(self, users: str, items: str) -> None:
        """users, items: "int" or "string", what kind of ids must be there."""
        self._kinds = users, items
        self._next: dict[int, int] = {}
        self._topic_id = ""

    def take(self, message: bytes) -> Positives | NewRun | None:
        """None where there is nothing for histories in it. Raises IncompatibleState, and has taken nothing then."""
        said = unpack_record(message, _made)
        if isinstance(said, _Rows):
            self._check(said.all)
            return self._fresh(said)
        if isinstance(said, _Source):
            if said.topic_id and self._topic_id and said.topic_id != self._topic_id:
                self._next.clear()  # another topic of that name: its offsets mean other rows
            self._topic_id = said.topic_id or self._topic_id
            return None
        return said

    def _check(self, rows: Positives) -> None:
        kinds = tuple("string" if ids.dtype == object else "int" for ids in (rows.users, rows.items))
        if len(rows.times) and kinds != self._kinds:
            raise IncompatibleState(
                f"the segments topic has users and items of kinds {kinds}, the served version {self._kinds}; is it the "
                "topic of the worker that trained it?"
            )

    def _fresh(self, rows: _Rows) -> Positives:
        known = self._next.get(rows.partition, rows.first)
        self._next[rows.partition] = max(known, rows.next)
        new = (rows.offsets >= known) & (rows.labels > 0.5)
        hole = f"source partition {rows.partition}: offsets {known} to {rows.first - 1}" if rows.first > known else ""
        return Positives(rows.all.users[new], rows.all.items[new], rows.all.times[new], hole)


def _made(packed: Mapping[str, Any]) -> _Rows | _Source | NewRun | None:
    kind = packed["kind"]
    if kind == "segment":
        return _rows(packed)
    if kind == "partitions":
        return _Source(as_text(packed["topic_id"]) if packed["format"] > 1 else "")
    if kind == "run":
        return NewRun()
    if kind != "idle":
        raise ValueError(f"unknown kind {kind!r}")
    return None


def _rows(packed: Mapping[str, Any]) -> _Rows:
    users, items = unpack_ids(packed["users"]), unpack_ids(packed["items"])
    times, labels = unpack_numbers(packed["times"]), unpack_labels(packed["labels"])
    offsets = unpack_numbers(packed["offsets"])
    if len({len(column) for column in (users, items, times, labels, offsets)}) != 1:
        raise ValueError("columns differ in length")
    number, first, following = (int(packed[key]) for key in ("partition", "first", "next"))
    return _Rows(number, first, following, offsets, labels, Positives(users, items, times))

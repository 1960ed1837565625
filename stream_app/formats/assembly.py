"""Rows to interactions: columns, and the checks that types cannot make.

A message with several rows is accepted or refused as a whole: were some of its rows taken, it could not be sent again
after the mistake was mended without repeating those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress, repeat
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from models.interactions import Categories, Ids, Interactions
from stream_app.events.columns import row_bytes
from stream_app.events.field_path import header
from stream_app.events.record import RecordSettings
from stream_app.formats import categories
from stream_app.formats.conditions import Condition, conditions
from stream_app.formats.event_time import microseconds
from stream_app.formats.fetch import Fetch
from stream_app.formats.heads import Heads
from stream_app.formats.refusal import Refusal, row_of
from stream_app.formats.row import ID_BYTES, Leaf, Tree, reads

ROWS = 10_000
"""Most interactions of one message."""

MESSAGE_BYTES = 850_000
"""Most bytes that the rows of one message take as columns: they travel in one segment."""

_OFFSET_BYTES = 8

Mask = NDArray[np.bool_]


Columns = dict[str, list[Any]]
"""Name of a leaf -> what stands there, of each row."""


class Assembly:
    """Makes interactions of rows of the struct of `tree`, and of what their headers say."""

    def __init__(self, settings: RecordSettings, leaves: Mapping[str, Leaf], tree: Tree, heads: Heads | None) -> None:
        self._settings = settings
        self._skew = round(settings.max_clock_skew * 1_000_000)
        self._fields = settings.fields()
        self._names = {path: leaf.name for path, leaf in leaves.items()}
        self._in_messages = [path for path in leaves if header(path) is None]
        self._reads = {name.rpartition(".")[2]: read for name, read in reads(tree)}
        self._head_reads = heads.reads if heads else {}
        self._where = conditions(settings.where)
        self._positive_when = conditions(settings.positive_when)

    def of(
        self, fetch: Fetch, places: Sequence[int], rows: Sequence[Any], heads: Sequence[Any]
    ) -> tuple[Interactions, NDArray[np.int64]]:
        """(interactions, their offsets). places: of the rows in the fetch; those that are no good are refused there."""
        index = np.arange(len(places)) if isinstance(places, range) else np.array(places, dtype=np.int64)
        columns = {self._names[path]: self._reads[self._names[path]](rows) for path in self._in_messages}
        columns |= {name: read(heads) for name, read in self._head_reads.items()}
        if self._settings.batched:
            index, columns = self._unrolled(fetch, index, columns)
        return self._checked(fetch, index, columns)

    def _unrolled(self, fetch: Fetch, index: NDArray[np.int64], columns: Columns) -> tuple[NDArray[np.int64], Columns]:
        """One row an element of the lists; what a message says once holds for all of its rows."""
        sizes = np.array([[_size(value) for value in columns[self._names[path]]] for path in self._in_messages])
        most = sizes.max(axis=0)
        least = np.where(sizes < 0, most, sizes).min(axis=0)
        for message in np.flatnonzero((least < most) | (most > ROWS)).tolist():
            path = self._in_messages[sizes[:, message].tolist().index(least[message])]
            uneven = Refusal("missing-field", row_of(path, int(least[message])))
            longest = Refusal("too-large", path, f"{path}: has {most[message]} rows, at most {ROWS} are allowed")
            fetch.refuse(int(index[message]), uneven if least[message] < most[message] else longest)
        kept = (least == most) & (most <= ROWS)
        counts = most[kept].tolist()
        keep = kept.tolist()

        def unrolled(values: list[Any]) -> Iterable[Any]:
            for value, count in zip(compress(values, keep), counts, strict=True):
                yield value if isinstance(value, list | tuple) else repeat(value, count)

        rows = {name: list(chain.from_iterable(unrolled(values))) for name, values in columns.items()}
        return np.repeat(index[kept], counts), rows

    def _checked(
        self, fetch: Fetch, index: NDArray[np.int64], columns: Columns
    ) -> tuple[Interactions, NDArray[np.int64]]:
        users = _ids(columns["user"], self._settings.user_ids)
        items = _ids(columns["item"], self._settings.item_ids)
        clock = fetch.clock[index]
        times, timed = self._times(columns.get("time", []), clock)
        labels, labelled = self._labels(columns, len(index))
        named, short = self._categories(columns, len(index))
        checks = (
            (_short(users), "out-of-range", self._settings.user),
            (_short(items), "out-of-range", self._settings.item),
            (timed, "missing-field", self._settings.time),
            ((clock < 0) | (times <= clock + self._skew), "clock-skew", self._settings.time),
            (labelled, "out-of-range", self._settings.label),
            (short, "out-of-range", self._settings.categories),
        )
        listed = self._met(self._where, columns, len(index))
        good, faults = listed.copy(), list[tuple[int, str, str]]()
        for passed, reason, field in checks:
            faults += [(row, reason, field) for row in np.flatnonzero(good & ~passed).tolist()]
            good &= passed
        interactions = Interactions(users, items, times, labels, named)
        refused = self._refused(fetch, index, faults, interactions)
        fetch.filtered += int(np.count_nonzero(~listed & ~refused))
        good &= ~refused
        return (interactions if good.all() else interactions.select(good)), fetch.at[index[good]]

    def _refused(
        self, fetch: Fetch, index: NDArray[np.int64], faults: list[tuple[int, str, str]], interactions: Interactions
    ) -> Mask:
        """Refuses the messages of these (row, reason, field); which rows they are."""
        refused: dict[int, Refusal] = {}
        for row, reason, field in sorted(faults):
            place = int(index[row])
            first = int(np.searchsorted(index, place))
            where = row_of(field, row - first) if self._settings.batched else field
            refused.setdefault(place, Refusal(reason, where))
        if self._settings.batched and len(index):
            sizes = np.bincount(index, row_bytes(interactions) + _OFFSET_BYTES)
            for place in np.flatnonzero(sizes > MESSAGE_BYTES).tolist():
                text = f"has rows of {sizes[place]:.0f} bytes as columns, at most {MESSAGE_BYTES} fit into a segment"
                refused.setdefault(place, Refusal("too-large", text=text))
        for place, why in refused.items():
            fetch.refuse(place, why)
        return np.isin(index, list(refused)) if refused else np.zeros(len(index), dtype=np.bool_)

    def _met(self, wanted: Sequence[Condition], columns: Columns, rows: int) -> Mask:
        met = np.ones(rows, dtype=np.bool_)
        for condition in wanted:
            met &= condition.met(columns[self._names[condition.path]])
        return met

    def _times(self, raw: list[Any], clock: NDArray[np.int64]) -> tuple[NDArray[np.int64], Mask]:
        """(event time, whether there is one) of each row; `time_from` says where it comes from."""
        if self._settings.time_from == "kafka":
            return clock, clock >= 0
        if self._settings.time_from == "field":
            return microseconds(raw, self._settings.time_unit), np.ones(len(clock), dtype=np.bool_)
        there = np.array([time is not None and time is not UNSET for time in raw], dtype=np.bool_)
        times = clock.copy()
        given = [time for time, is_there in zip(raw, there.tolist(), strict=True) if is_there]
        times[there] = microseconds(given, self._settings.time_unit)
        return times, there | (clock >= 0)

    def _labels(self, columns: Columns, rows: int) -> tuple[NDArray[np.float32], Mask]:
        """(label, whether it is 0 or 1) of each row."""
        every = np.ones(rows, dtype=np.bool_)
        if self._positive_when:
            return self._met(self._positive_when, columns, rows).astype(np.float32), every
        if self._settings.rating:
            ratings = np.fromiter(columns["rating"], np.float64, rows)
            return (ratings >= self._settings.rating_threshold).astype(np.float32), every
        if not self._settings.label:
            return np.ones(rows, dtype=np.float32), every
        labels = np.fromiter(columns["label"], np.float64, rows)
        return labels.astype(np.float32), (labels == 0) | (labels == 1)

    def _categories(self, columns: Columns, rows: int) -> tuple[Categories | None, Mask]:
        """(categories, whether they are within the limits) of each row."""
        if not self._settings.categories:
            return None, np.ones(rows, dtype=np.bool_)
        return categories.read([None if given is UNSET else given for given in columns["categories"]])


def _size(value: Any) -> int:
    """How many rows a field of a batched message speaks of; -1: of all there are."""
    return len(value) if isinstance(value, list | tuple) else -1


def _ids(values: list[Any], kind: str) -> Ids:
    return np.fromiter(values, np.int64 if kind == "int" else object, len(values))


def _short(ids: Ids) -> Mask:
    """Which ids fit ID_BYTES; the type has limited their characters already, one of which takes up to four bytes."""
    if ids.dtype != object:
        return np.ones(len(ids), dtype=np.bool_)
    return np.array([len(text) <= ID_BYTES // 4 or len(text.encode()) <= ID_BYTES for text in ids], dtype=np.bool_)

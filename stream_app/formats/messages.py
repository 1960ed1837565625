"""Messages to interactions: a whole fetch at a time, each message on its own.

Rules:
1. Decoding many messages gives what decoding them one by one gives.
2. Whatever bytes arrive, nothing is raised: a message is an interaction, a watermark record, a tombstone or a bad row.
3. A bad row says why in a short stable code: undecodable, not-a-map, missing-field, wrong-type, out-of-range,
   clock-skew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from models.interactions import Categories, Ids, Interactions
from stream_app.events.record import BadRow, RecordSettings
from stream_app.events.segment import END
from stream_app.formats import AnyMessageFormat, categories
from stream_app.formats.decoded import Decoded
from stream_app.formats.event_time import LIMIT, microseconds
from stream_app.formats.row import ID_BYTES, refusal, row_type, watermark_type

Decode = Callable[[Sequence[bytes | None], Sequence[int], Sequence[int]], Decoded]
_ERRORS = (ValueError, TypeError, RecursionError)


def message_format(name: str) -> AnyMessageFormat:
    """The format that `records.format` names. Raises ValueError for an unknown one."""
    for kind in get_args(AnyMessageFormat):
        known: AnyMessageFormat = kind()
        if known.format == name:
            return known
    raise ValueError(f"unknown message format {name!r}")


def decoder(settings: RecordSettings) -> Decode:
    """A function (values, offsets, Kafka timestamps in ms) -> Decoded for messages of one partition.

    The three have equal length; a value of None is a tombstone; a timestamp below 0 means that there is none, and
    then there is nothing to judge clock skew by.
    """
    return _Decoder(settings).decode


class _Decoder:
    def __init__(self, settings: RecordSettings) -> None:
        chosen = message_format(settings.format)
        self._settings = settings
        self._row = chosen.decoder(row_type(settings))
        self._watermark = chosen.decoder(watermark_type(settings))
        self._skew = round(settings.max_clock_skew * 1_000_000)

    def decode(self, values: Sequence[bytes | None], offsets: Sequence[int], timestamps_ms: Sequence[int]) -> Decoded:
        at = np.asarray(offsets, dtype=np.int64)
        clock = np.clip(np.asarray(timestamps_ms, dtype=np.int64), -1, LIMIT // 1000) * 1000
        marks: list[tuple[int, int]] = []
        bad: list[BadRow] = []
        present = [index for index, value in enumerate(values) if value is not None]
        try:
            rows, kept = [self._row(value) for value in values if value is not None], present
        except _ERRORS:
            rows, kept = self._one_by_one(values, present, at, clock, marks, bad)
        index = np.array(kept, dtype=np.int64)
        interactions, good = self._columns(rows, values, index, at, clock, bad)
        return Decoded(
            interactions.select(good),
            at[index[good]],
            tuple(marks),
            tuple(sorted(bad, key=lambda row: row.offset)),
            len(values) - len(present),
        )

    def _one_by_one(
        self,
        values: Sequence[bytes | None],
        present: Sequence[int],
        at: NDArray[np.int64],
        clock: NDArray[np.int64],
        marks: list[tuple[int, int]],
        bad: list[BadRow],
    ) -> tuple[list[Any], list[int]]:
        rows, kept = [], []
        for index in present:
            value = values[index] or b""
            try:
                rows.append(self._row(value))
                kept.append(index)
            except _ERRORS as error:
                found = self._mark(value, int(clock[index]), error)
                if isinstance(found, int):
                    marks.append((int(at[index]), found))
                else:
                    bad.append(BadRow(int(at[index]), *found, value))
        return rows, kept

    def _mark(self, value: bytes, clock: int, error: Exception) -> int | tuple[str, str]:
        """The time of a watermark record, else why the message is neither that nor an interaction."""
        try:
            time = self._watermark(value).watermark
        except _ERRORS as second:
            found = refusal(second)
            if found[1] == "watermark" and found[0] != "missing-field":
                return found
            return refusal(error, self._settings.categories)
        if time == "end":
            return END
        mark = int(microseconds([time], self._settings.time_unit)[0])
        return ("clock-skew", "watermark") if clock >= 0 and mark > clock + self._skew else mark

    def _columns(
        self,
        rows: list[Any],
        values: Sequence[bytes | None],
        index: NDArray[np.int64],
        at: NDArray[np.int64],
        clock: NDArray[np.int64],
        bad: list[BadRow],
    ) -> tuple[Interactions, NDArray[np.bool_]]:
        settings = self._settings
        users = _ids([row.user for row in rows], settings.user_ids)
        items = _ids([row.item for row in rows], settings.item_ids)
        times, timed = self._times(rows, clock[index])
        labels, labelled = self._labels(rows)
        named, short = self._categories(rows)
        own, limit = clock[index], clock[index] + self._skew
        checks = (
            (_short(users), "out-of-range", settings.user),
            (_short(items), "out-of-range", settings.item),
            (timed, "missing-field", settings.time),
            ((own < 0) | (times <= limit), "clock-skew", settings.time),
            (labelled, "out-of-range", settings.label),
            (short, "out-of-range", settings.categories),
        )
        good = np.ones(len(rows), dtype=np.bool_)
        for passed, reason, field in checks:
            for row in np.flatnonzero(good & ~passed):
                bad.append(BadRow(int(at[index[row]]), reason, field, values[index[row]] or b""))
            good &= passed
        return Interactions(users, items, times, labels, named), good

    def _times(self, rows: list[Any], clock: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(event time, whether there is one) of each row; `time_from` says where it comes from."""
        if self._settings.time_from == "kafka":
            return clock, clock >= 0
        raw = [row.time for row in rows]
        if self._settings.time_from == "field" or None not in raw:
            return microseconds(raw, self._settings.time_unit), np.ones(len(rows), dtype=np.bool_)
        absent = np.array([time is None for time in raw], dtype=np.bool_)
        times = clock.copy()
        times[~absent] = microseconds([time for time in raw if time is not None], self._settings.time_unit)
        return times, ~absent | (clock >= 0)

    def _labels(self, rows: list[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(label, whether it is 0 or 1) of each row."""
        if self._settings.rating:
            ratings = np.array([row.rating for row in rows], dtype=np.float64)
            return (ratings >= self._settings.rating_threshold).astype(np.float32), np.ones(len(rows), dtype=np.bool_)
        if not self._settings.label:
            return np.ones(len(rows), dtype=np.float32), np.ones(len(rows), dtype=np.bool_)
        labels = np.array([row.label for row in rows], dtype=np.float64)
        return labels.astype(np.float32), (labels == 0) | (labels == 1)

    def _categories(self, rows: list[Any]) -> tuple[Categories | None, NDArray[np.bool_]]:
        """(categories, whether they are within the limits) of each row."""
        if not self._settings.categories:
            return None, np.ones(len(rows), dtype=np.bool_)
        return categories.read([row.categories for row in rows])


def _ids(values: list[Any], kind: str) -> Ids:
    return np.array(values, dtype=np.int64 if kind == "int" else object)


def _short(ids: Ids) -> NDArray[np.bool_]:
    """Which ids fit ID_BYTES; the type has limited their characters already, one of which takes up to four bytes."""
    if ids.dtype != object:
        return np.ones(len(ids), dtype=np.bool_)
    return np.array([len(text) <= ID_BYTES // 4 or len(text.encode()) <= ID_BYTES for text in ids], dtype=np.bool_)

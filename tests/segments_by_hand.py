"""Small streams for tests of ingestion, and what their periods must be, found by plain loops over tuples."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.interactions import Interactions
from stream_app.events.segment import END, Segment
from stream_app.store.journal_view import JournalView


class Row(NamedTuple):
    """One interaction, in the order in which rows are compared."""

    time: int
    user: int
    item: int
    label: int


Log = Sequence[Row | int]
"""What lies in one source partition, by offset: rows, and the times of watermark records."""


def segment(partition: int, first: int, records: Log) -> Segment:
    """Consecutive records of a partition from offset `first` on."""
    rows = [(first + i, record) for i, record in enumerate(records) if isinstance(record, Row)]
    marks = tuple((first + i, record) for i, record in enumerate(records) if not isinstance(record, Row))
    columns = np.array([record for _, record in rows], np.int64).reshape(len(rows), 4)
    times, users, items, labels = (columns[:, i].copy() for i in range(4))
    interactions = Interactions(users, items, times, labels.astype(np.float32))
    offsets = np.array([offset for offset, _ in rows], np.int64)
    return Segment(partition, first, first + len(records), offsets, interactions, marks)


def partitioned(rows: Iterable[Row], partitions: int, end: bool = True) -> list[list[Row | int]]:
    """The logs of a topic keyed by user, each ended by a mark."""
    logs: list[list[Row | int]] = [[] for _ in range(partitions)]
    for row in rows:
        logs[row.user % partitions].append(row)
    return [[*log, END] if end else log for log in logs]


Origin = tuple[int, int]
"""Partition and offset."""


def judged(logs: Sequence[Log], lateness: int) -> Iterator[tuple[Origin, int, Row]]:
    """Every row with its assigned time (design.md, "Time"), walking each log from its first record to its last."""
    for partition, log in enumerate(logs):
        watermark: int | None = None
        for offset, record in enumerate(log):
            if isinstance(record, Row):
                yield (partition, offset), record.time if watermark is None else max(record.time, watermark), record
                said = record.time - lateness
            else:
                said = record if record != END else said_nothing(watermark)
            watermark = said if watermark is None else max(watermark, said)


def assigned_rows(logs: Sequence[Log], lateness: int) -> Iterator[tuple[int, Row]]:
    """Every row with its assigned time."""
    yield from ((assigned, row) for _, assigned, row in judged(logs, lateness))


def late_rows(logs: Sequence[Log], lateness: int) -> dict[Origin, Row]:
    """The rows whose time is before what their partition has come to."""
    return {origin: row for origin, assigned, row in judged(logs, lateness) if assigned > row.time}


def without(logs: Sequence[Log], left_out: Collection[Origin]) -> list[Log]:
    """The logs without these rows."""
    return [[r for offset, r in enumerate(log) if (p, offset) not in left_out] for p, log in enumerate(logs)]


def said_nothing(watermark: int | None) -> int:
    """An end mark says nothing about the rows before it."""
    return -(2**63) if watermark is None else watermark


def periods_by_count(logs: Sequence[Log], lateness: int, count: int) -> dict[int, list[Row]]:
    """Full periods of logs that have ended: number -> rows in canonical order."""
    ordered = [row for _, row in sorted(assigned_rows(logs, lateness))]
    return {i + 1: sorted(ordered[i * count : (i + 1) * count]) for i in range(len(ordered) // count)}


def periods_by_time(logs: Sequence[Log], lateness: int, length: int) -> dict[int, list[Row]]:
    """Windows with rows of logs that have ended: number -> rows in canonical order."""
    windows: dict[int, list[Row]] = defaultdict(list)
    for time, row in assigned_rows(logs, lateness):
        windows[time // length].append(row)
    return {window - min(windows) + 1: sorted(rows) for window, rows in windows.items()}


def stored_periods(journal: JournalView) -> dict[int, list[Row]]:
    """What the journal holds: number -> rows in the order in which it gives them."""
    return {closed.period.number: tuples(journal.interactions(closed.period)) for closed in journal.periods()}


def tuples(rows: Interactions) -> list[Row]:
    """Interactions as plain tuples."""
    columns = (rows.times, rows.users, rows.items, rows.labels.astype(np.int64))
    return [Row(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


def counted(periods: dict[int, list[Row]]) -> Counter[Row]:
    """How often each row is in any period."""
    return Counter(row for rows in periods.values() for row in rows)

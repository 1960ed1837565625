"""A live history is what the learner takes for that interaction: one segments topic, read by a journal and by us.

Streams with many rows of one time (so that periods end within a moment), rows out of order within the lateness,
partitions that run ahead, and segments that are sent again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulators import tiny_version

from models.histories import UserHistories
from models.interactions import Interactions
from models.sampling import SamplerState, sample
from stream_app.events.periods import AnyPeriods, EqualCount, EventTime
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.pipeline import ingest
from stream_app.serving.model import ServingModel
from stream_app.store.journal import Journal
from stream_app.subscriber.histories.live import continued
from stream_app.subscriber.histories.reading import Reading
from stream_app.versions.columns import histories_to_tensors

PARTITIONS, ROWS, LATENESS = 3, 600, 20
"""Times are single microseconds."""


def arrivals(seed: int, kind: str) -> list[Interactions]:
    """The log of each partition, keyed by user: about three rows a microsecond, up to 15 microseconds out of order."""
    draw = np.random.default_rng(seed)
    times = np.sort(draw.integers(0, ROWS // 3, ROWS)) + 1000
    users, items = draw.integers(0, 9, ROWS), draw.integers(0, 40, ROWS)
    labels = (draw.random(ROWS) < 0.8).astype(np.float32)
    arrived = np.argsort(times + draw.integers(0, 16, ROWS), kind="stable")

    def ids(numbers: np.ndarray) -> np.ndarray:
        return numbers if kind == "int" else np.array([f"é{number}" for number in numbers], object)

    rows = Interactions(ids(users), ids(items), times, labels).select(arrived)
    return [rows.select(users[arrived] % PARTITIONS == partition) for partition in range(PARTITIONS)]


def topic(logs: list[Interactions], seed: int) -> Iterator[SegmentsRecord]:
    """The logs as the records of a segments topic; every fourth segment begins with rows that were sent before.

    A partition is at most 30 microseconds ahead of the slowest: only 30 rows of a user are held.
    """
    draw, at = np.random.default_rng(seed), [0] * len(logs)
    yield RunMark("r")
    yield PartitionSet(len(logs))
    while left := {n: int(log.times[at[n]]) for n, log in enumerate(logs) if at[n] < len(log)}:
        partition = int(draw.choice([n for n, time in left.items() if time <= min(left.values()) + 30]))
        begin, end = at[partition], min(at[partition] + int(draw.integers(1, 12)), len(logs[partition]))
        again = max(0, begin - 3) if draw.random() < 0.25 else begin
        rows = logs[partition].select(slice(again, end))
        yield Segment(partition, again, end, np.arange(again, end), rows)
        at[partition] = end
    for partition, log in enumerate(logs):
        empty = log.select(slice(0, 0))
        yield Segment(partition, len(log), len(log) + 1, np.empty(0, np.int64), empty, ((len(log), END),))
    yield IdleMark(0, len(logs[0]) + 1)


def serving(state: SamplerState, number: int) -> ServingModel:
    """A version with the histories of this state, as the trainer writes them."""
    known = UserHistories.of(state.history_items, state.history_times)
    tensors = histories_to_tensors(known.rows, known.offsets, known.newest)
    learning = {"base_model": "embedding-mlp", "histories_until": known.until}
    ids = {"users": state.users.ids, "items": state.items.ids}
    return ServingModel(tiny_version(number, replaced=tensors, learning=learning, **ids))


def learners(before: SamplerState, rows: Interactions) -> tuple[SamplerState, list[list[Any]]]:
    """The state after a period, and the history of each of its rows as ids, most recent first."""
    after, samples = sample(before, rows, 0, np.random.default_rng(0), np.random.default_rng(7))
    found: list[list[Any]] = [[]] * len(rows)
    items = after.items.ids
    for at, row in enumerate(np.random.default_rng(7).permutation(len(rows)).tolist()):
        stretch = samples.history[samples.offsets[at] : samples.offsets[at + 1]].numpy()
        found[row] = items[stretch - 1].tolist()
    return after, found


def live(reading: Reading, model: ServingModel, rows: Interactions) -> list[list[Any]]:
    assert model.histories is not None
    until, asked = model.histories.until, zip(rows.users.tolist(), rows.times.tolist(), strict=True)
    return [continued(model.own_history(u), until, reading.live.of(u), before=t) for u, t in asked]


KINDS: dict[str, AnyPeriods] = {
    "count": EqualCount(count=100, lateness=LATENESS * 1e-6),
    "time": EventTime(length=35e-6, lateness=LATENESS * 1e-6),
}


@pytest.mark.parametrize("kind", ["int", "string"])
@pytest.mark.parametrize("periods", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_row_of_the_next_period_has_the_history_that_it_is_learned_with(
    seed: int, periods: str, kind: str, tmp_path: Path
) -> None:
    state, model, followed = SamplerState.start(kind, kind), None, None
    messages, compared, lengths = list[bytes](), 0, set[int]()
    with Journal.open(tmp_path / "journal", {}) as journal:
        for position, record in enumerate(topic(arrivals(seed, kind), seed)):
            messages.append(record.encode())
            if followed is not None:
                followed.take(position, messages[-1])
            for period in ingest(journal, KINDS[periods], record, position):
                rows = journal.interactions(period)
                state, histories = learners(state, rows)
                if followed is not None and model is not None:
                    begun = read(model, messages)  # as by a process that has just begun with this version
                    assert live(followed, model, rows) == live(begun, model, rows) == histories
                    compared, lengths = compared + len(rows), lengths | {len(one) for one in histories}
                model = serving(state, period.number)
                assert model.histories is not None
                followed = followed or read(model, messages)
                assert followed.turned_to(model, model.histories)
    assert compared >= 300
    assert max(lengths) == 30, "or the limit is not tried"


def read(model: ServingModel, messages: list[bytes]) -> Reading:
    assert model.histories is not None
    reading = Reading(model, model.histories, limit=10_000)
    for offset, message in enumerate(messages):
        reading.take(offset, message)
    assert reading.position == len(messages)
    return reading


def test_a_late_row_is_in_the_version_whose_period_it_enters_and_not_before(tmp_path: Path) -> None:
    """Rows 0 to 4 in order, then one from before the first period's end, then enough for the second period."""
    times = np.array([1000, 1100, 1200, 1300, 1400, 1150, 1500, 1600, 1700])
    rows = Interactions(np.full(9, 5), np.arange(10, 19), times, np.ones(9, np.float32))
    segments = [Segment(0, 0, 5, np.arange(5), rows.select(slice(0, 5)))]
    segments += [Segment(0, 5, 9, np.arange(5, 9), rows.select(slice(5, 9)))]
    state, models = SamplerState.start(), list[ServingModel]()
    with Journal.open(tmp_path / "journal", {}) as journal:
        for position, record in enumerate([PartitionSet(1), *segments]):
            for period in ingest(journal, EqualCount(count=3, lateness=LATENESS * 1e-6), record, position):
                state, _ = learners(state, journal.interactions(period))
                models.append(serving(state, period.number))
    first, second = models
    messages = [record.encode() for record in segments]

    def history(model: ServingModel) -> list[int]:
        assert model.histories is not None
        return continued(model.own_history(5), model.histories.until, read(model, messages).live.of(5))

    assert first.own_history(5).items == [12, 11, 10]
    assert history(first) == [18, 17, 16, 14, 13, 12, 11, 10], "without item 15, of time 1150"
    assert second.own_history(5).items == [14, 13, 12, 15, 11, 10]
    assert history(second) == [18, 17, 16, 14, 13, 12, 15, 11, 10]

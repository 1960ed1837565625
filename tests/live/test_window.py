"""The second stage: what is on the segments topic is in the journal, whoever is killed on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faust.types import TP
from kafka import KafkaProducer
from live_helpers import PATIENCE, record

from models.interactions import Interactions
from stream_app.errors import StopTheLine
from stream_app.events.segment import END, PartitionSet, Segment
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.status import status
from stream_app.live.transport import Known
from stream_app.live.worker import Role, stage_of
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.journal_view import JournalView
from stream_app.store.layout import create_or_open
from stream_app.store.records import HEAD, Head
from stream_app.store.view import KIND

Start = Callable[[WorkerSettings, Role], Any]


def wait_for_journal(settings: WorkerSettings, enough: Callable[[JournalView], bool]) -> JournalView:
    deadline = time.monotonic() + PATIENCE
    while True:
        journal = JournalView.beside(settings.state_directory / JOURNAL)
        if journal is not None and enough(journal):
            return journal
        if journal is not None:
            journal.close()
        assert time.monotonic() < deadline, "gave up waiting for the journal"
        time.sleep(0.1)


def users_by_period(journal: JournalView) -> list[list[int]]:
    return [journal.interactions(closed.period).users.tolist() for closed in journal.periods()]


def segments_of(count: int) -> list[Segment]:
    """`count` rows whose user, item and time are their number, dealt in turn to 2 partitions, 50 rows a segment."""
    made = []
    for first in range(0, count // 2, 50):
        for partition in (0, 1):
            offsets = np.arange(first, first + 50)
            numbers = 2 * offsets + partition
            ends = ((int(offsets[-1]) + 1, END),) if first + 50 == count // 2 else ()
            rows = Interactions(numbers, numbers, numbers, np.ones(50, np.float32))
            made.append(Segment(partition, first, first + 50 + len(ends), offsets, rows, ends))
    return made


@pytest.mark.broker
def test_killed_again_and_again_the_periods_are_those_of_all_rows_in_order(
    settings: WorkerSettings, start: Start, producer: KafkaProducer
) -> None:
    def put(messages: list[bytes]) -> None:
        for sent in [producer.send(settings.topics.segments, message) for message in messages]:
            sent.get(timeout=PATIENCE)

    put([PartitionSet(2).encode()])
    made = [segment.encode() for segment in segments_of(1200)]
    for part in (made[:8], made[6:16], made[14:]):  # a collector that was killed repeats what it had sent
        window = start(settings, "window")
        put(part)
        known = wait_for_journal(settings, lambda journal: journal.position > 1)
        known.close()
        window.kill()
        window.join()
    start(settings, "window")
    with wait_for_journal(settings, lambda journal: journal.marks[1].quiet == "ended") as journal:
        assert users_by_period(journal) == [list(range(500)), list(range(500, 1000))]
        assert journal.open_period().rows == 200


@pytest.mark.broker
def test_a_hole_between_segments_ends_the_process_and_nothing_of_it_is_stored(
    settings: WorkerSettings, start: Start, producer: KafkaProducer
) -> None:
    made = segments_of(1200)
    for segment in (made[0], made[4]):
        producer.send(settings.topics.segments, segment.encode()).get(timeout=PATIENCE)
    window = start(settings, "window")
    window.join(timeout=PATIENCE)
    assert window.exitcode == 1
    with wait_for_journal(settings, lambda journal: True) as journal:
        assert (journal.position, journal.marks[0].next_offset) == (1, 50)


@pytest.mark.broker
def test_through_collect_and_window_every_row_is_in_its_period_and_status_says_what_is_missing(
    settings: WorkerSettings, start: Start, producer: KafkaProducer
) -> None:
    settings = replace(settings, periods=replace(settings.periods, count=400))
    topic, users = settings.topics.interactions, np.random.default_rng(5).permutation(1000)
    start(settings, "collect")
    start(settings, "window")
    for user in sorted(users.tolist(), key=lambda user: user // 40):  # disorder, but none within a partition
        producer.send(topic, record(user, 1, 1000 + user), partition=user // 40 % 4)
    producer.flush()
    with wait_for_journal(
        settings, lambda journal: sum(mark.rows for mark in journal.marks.values()) == 1000
    ) as journal:
        assert users_by_period(journal) == [list(range(400)), list(range(400, 800))]
    found = status(settings)
    assert found.broker == "answers"
    assert [part.lag for part in found.partitions] == [0, 0, 0, 0]
    assert [part.rows for part in found.partitions] == [280, 240, 240, 240]
    assert found.open_period.rows == 200
    assert found.open_period.why == ("needs 200 more rows",)
    assert (found.last_closed, found.dead_letters, found.segments_lag) == (2, 0, 0)
    assert (found.worker, found.version) == ("stopped", None)


def test_a_lost_journal_is_rebuilt_from_a_whole_topic_and_refused_where_the_topic_was_trimmed(tmp_path: Path) -> None:
    """What the trainer has done under a number must not be given to other rows."""
    settings = WorkerSettings(state_directory=tmp_path)
    segments = TP(settings.topics.segments, 0)

    def starts(earliest: int) -> int:
        window = stage_of(settings, "window")
        try:
            return asyncio.run(window.starts({segments: Known(None, earliest, 40)}))[segments]
        finally:
            window.revoked()

    assert starts(earliest=25) == 25  # a new run on an old topic
    store = create_or_open(tmp_path / STORE, KIND, {})
    store.write({HEAD: Head(period=3).seal()})
    store.close()
    assert starts(earliest=0) == 0
    with pytest.raises(StopTheLine, match=r"learned period 3.*offset 25.*--new-run"):
        starts(earliest=25)

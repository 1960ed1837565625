"""The second stage: what is on the segments topic is in the journal, whoever is killed on the way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from aiokafka import ConsumerRecord
from faust.types import TP
from kafka import KafkaProducer
from live_helpers import PATIENCE, Reader, record

from models.interactions import Interactions
from stream_app.broker import KafkaSettings
from stream_app.errors import IncompatibleState, StopTheLine
from stream_app.events.dead_letter import decode as decode_letter
from stream_app.events.periods import EqualCount
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END, PartitionSet, Segment
from stream_app.fixed import fixed_for_journal
from stream_app.live.cluster.topics import TopicSettings
from stream_app.live.seeing.status import status
from stream_app.live.stages.late_letters import LateLetters
from stream_app.live.stages.transport import Batch, Known
from stream_app.live.stages.trimming import WindowSettings
from stream_app.live.stages.window import Window
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.training.window_status import read_window
from stream_app.live.worker import Role
from stream_app.live.worker_settings import WorkerSettings
from stream_app.pipeline import ingest
from stream_app.store.journal import Journal
from stream_app.store.journal_view import ClosedPeriod, JournalView
from stream_app.store.late_outbox import LateRows
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


def rows_of(partition: int, first: int, times: list[int]) -> Segment:
    """Rows from offset `first` on; user and item are the offset."""
    offsets = np.arange(first, first + len(times))
    rows = Interactions(offsets, offsets, 1_000_000 * np.array(times), np.ones(len(times), np.float32))
    return Segment(partition, first, first + len(times), offsets, rows)


@pytest.mark.broker
def test_late_rows_that_a_crash_left_in_the_journal_reach_the_dead_letters_under_the_keys_of_their_origins(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    settings = replace(settings, periods=replace(settings.periods, late="dead-letter"))
    stream = [PartitionSet(1), rows_of(0, 0, [100, 7, 101, 8]), rows_of(0, 4, [102, 9])]
    fixed = fixed_for_journal(settings.records, settings.periods)
    with Journal.open(settings.state_directory / JOURNAL, fixed) as journal:
        for position, said in enumerate(stream):  # then the window process is killed, before it sends anything
            ingest(journal, settings.periods, said, position)
    for said in stream:
        producer.send(settings.topics.segments, said.encode()).get(timeout=PATIENCE)
    start(settings, "window")
    found = reader(settings.topics.dead_letters).until(lambda found: len(found) >= 3)
    letters = [decode_letter(one.key, one.value) for one in found]
    topic = settings.topics.interactions
    assert [letter.key.decode() for letter in letters] == [f"{topic}/0/{offset}" for offset in (1, 3, 5)]
    assert {(letter.reason, letter.field, letter.timestamp_ms) for letter in letters} == {("late", "timestamp", -1)}
    sent = [msgpack.unpackb(letter.value or b"") for letter in letters]
    assert sent == [{"user_id": n, "item_id": n, "timestamp": time, "label": 1} for n, time in ((1, 7), (3, 8), (5, 9))]
    with wait_for_journal(settings, lambda journal: not list(journal.late_rows())) as journal:
        assert (journal.position, journal.open_period().rows, journal.marks[0].dead_lettered) == (3, 3, 3)
    part = status(settings).partitions[0]
    assert (part.rows, part.late, part.dead_lettered, part.dropped) == (6, 3, 3, 0)


def test_rows_of_one_message_that_are_late_have_keys_of_their_own() -> None:
    records = RecordSettings(time_from="kafka")
    rows = Interactions(np.arange(5), np.arange(5), np.array([9, 2, 9, 3, 4]) * 1_000_000, np.ones(5, np.float32))
    batched = Segment(2, 10, 13, np.array([10, 11, 11, 11, 12]), rows)
    late = LateRows.of(batched, np.array([False, True, False, True, True]))
    letters = list(LateLetters(KafkaSettings(), TopicSettings(), records).letters(late))
    assert [letter.key for letter in letters] == [b"interactions/2/11/0", b"interactions/2/11/2", b"interactions/2/12"]
    assert [letter.timestamp_ms for letter in letters] == [2000, 3000, 4000]


@pytest.mark.parametrize(
    "records",
    [
        RecordSettings(decoder="somebody.elses:function"),
        RecordSettings(user="header:user"),
        RecordSettings(positive_when={"kind": ("purchase",)}),
    ],
)
def test_a_late_row_of_messages_that_cannot_be_written_stands_in_its_letter_as_json(records: RecordSettings) -> None:
    late = LateRows.of(rows_of(0, 3, [9]), np.array([True]))
    late = replace(late, rows=replace(late.rows, labels=np.zeros(1, np.float32)))
    (letter,) = LateLetters(KafkaSettings(), TopicSettings(), records).letters(late)
    assert json.loads(letter.value or b"") == {"user_id": 3, "item_id": 3, "timestamp": 9, "label": 0}


@pytest.mark.broker
def test_a_window_that_is_taken_away_while_it_asks_where_to_start_stands_by(settings: WorkerSettings) -> None:
    segments = TP(settings.topics.segments, 0)
    fixed = fixed_for_journal(settings.records, settings.periods)
    window = Window(settings.kafka, settings.topics, settings.periods, settings.state_directory, fixed, settings.window)

    async def run() -> None:
        await window.start()
        starting = asyncio.ensure_future(window.starts({segments: Known(None, 0, 0)}))
        await asyncio.sleep(0)  # it has asked Kafka by now
        assert not starting.done()
        window.revoked()
        assert await starting == {}
        assert not read_window(settings.state_directory).active
        assert JournalView.beside(settings.state_directory / JOURNAL) is None
        assert await window.starts({segments: Known(None, 0, 0)}) == {segments: 0}
        assert read_window(settings.state_directory).active
        await window.stop()

    asyncio.run(run())


def test_rows_go_once_their_period_was_trained_and_journal_keep_others_after_it(tmp_path: Path) -> None:
    periods = EqualCount(count=10, lateness=0)
    settings = WorkerSettings(state_directory=tmp_path, periods=periods, window=WindowSettings(journal_keep=2))
    segments = TP(settings.topics.segments, 0)
    stream = [PartitionSet(1), *(rows_of(0, first, list(range(first, first + 10))) for first in range(0, 90, 10))]

    async def readable(position: int, trained: int) -> list[int]:
        """The periods that can be read once the record at `position` was taken, the trainer having done `trained`."""
        with closing(create_or_open(tmp_path / STORE, KIND, {})) as store:
            store.write({HEAD: Head(period=trained).seal()})
        record = ConsumerRecord(segments.topic, 0, position, 0, 0, None, stream[position].encode(), None, 0, 0, ())
        await window.take(Batch(segments.topic, 0, position, position + 1, [record]))
        with wait_for_journal(settings, lambda journal: journal.position == position + 1) as journal:
            return [closed.period.number for closed in journal.periods() if is_there(journal, closed)]

    def is_there(journal: JournalView, closed: ClosedPeriod) -> bool:
        with suppress(IncompatibleState):
            return len(journal.interactions(closed.period)) == 10
        return False

    fixed = fixed_for_journal(settings.records, settings.periods)
    window = Window(settings.kafka, settings.topics, settings.periods, tmp_path, fixed, settings.window)

    async def run() -> None:
        window.start_of(Known(None, 0, 40), "")
        for position, expected in enumerate([[], [], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5]]):
            assert await readable(position, trained=0) == expected
        assert await readable(7, trained=3) == [2, 3, 4, 5, 6]
        assert await readable(8, trained=3) == [2, 3, 4, 5, 6, 7]
        assert await readable(9, trained=7) == [6, 7, 8]
        await window.stop()

    asyncio.run(run())


def test_a_lost_journal_is_rebuilt_from_a_whole_topic_and_refused_where_the_topic_was_trimmed(tmp_path: Path) -> None:
    """What the trainer has done under a number must not be given to other rows."""
    settings = WorkerSettings(state_directory=tmp_path)

    def starts(earliest: int) -> int:
        fixed = fixed_for_journal(settings.records, settings.periods)
        window = Window(settings.kafka, settings.topics, settings.periods, tmp_path, fixed, settings.window)
        try:
            return window.start_of(Known(None, earliest, 40), "")
        finally:
            window.revoked()

    assert starts(earliest=25) == 25  # a new run on an old topic
    store = create_or_open(tmp_path / STORE, KIND, {})
    store.write({HEAD: Head(period=3).seal()})
    store.close()
    assert starts(earliest=0) == 0
    with pytest.raises(StopTheLine, match=r"learned period 3.*offset 25.*--new-run"):
        starts(earliest=25)

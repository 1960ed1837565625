"""`--until-end`: the worker ends when nothing is left to do, and not before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from kafka import KafkaProducer
from live_helpers import PATIENCE, Reader
from replay_helpers import LEARNING, write
from segments_by_hand import Row, segment

from models.interactions import Interactions
from stream_app.events.dead_letter import decode
from stream_app.events.periods import EqualCount, EventTime
from stream_app.events.segment import END, PartitionSet, SegmentsRecord
from stream_app.fixed import fixed_for_journal
from stream_app.live.cluster import topics
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.until_end import UntilEnd, what_stays
from stream_app.live.worker_settings import WorkerSettings
from stream_app.pipeline import ingest
from stream_app.produce import produce
from stream_app.replay import ReplaySettings, replay
from stream_app.store.journal import Journal
from stream_app.store.layout import create_or_open
from stream_app.store.records import HEAD, Head
from stream_app.store.view import KIND
from stream_app.synthetic import drifting_stream
from stream_app.versions.messages import Manifest


@pytest.mark.broker
def test_nothing_that_is_still_to_do_is_taken_for_the_end(settings: WorkerSettings, producer: KafkaProducer) -> None:
    """Each step does one thing more; only the last leaves nothing."""
    settings = replace(settings, periods=EqualCount(count=3, lateness=0, late="dead-letter"))
    names, state, until = settings.topics, settings.state_directory, UntilEnd(settings)
    fixed = fixed_for_journal(settings.records, settings.periods)
    rows = [Row(100, 0, 0, 1), Row(101, 1, 1, 1), Row(7, 2, 2, 1)]
    stream: list[SegmentsRecord] = [
        *(PartitionSet(3), *(segment(n, 0, [*rows, END]) for n in range(3))),
        *(PartitionSet(4), segment(3, 0, [Row(200, 3, 0, 1), Row(201, 3, 0, 1), rows[2], END])),
        *(PartitionSet(4), segment(2, 4, [Row(202, 2, 0, 1)])),
    ]

    def take(position: int) -> None:
        producer.send(names.segments, stream[position].encode()).get(timeout=PATIENCE)
        with Journal.open(state / JOURNAL, fixed) as journal:
            ingest(journal, settings.periods, stream[position], position)

    def late_rows_are_sent(count: int) -> None:
        with Journal.open(state / JOURNAL, fixed) as journal:
            waiting = [number for number, _ in journal.late_rows()]
            assert len(waiting) == count
            journal.late_sent(waiting)

    def learned(**head: int) -> None:
        with closing(create_or_open(state / STORE, KIND, {})) as store:
            store.write({HEAD: Head(**head).seal()})

    for partition in range(4):
        for value in [b"x"] * 4:
            producer.send(names.interactions, value, partition=partition).get(timeout=PATIENCE)
    assert not until()  # no journal
    for position in range(4):
        take(position)  # one partition after the other ends
        assert not until()
    learned(period=2)
    late_rows_are_sent(3)
    assert not until()  # all is done of three partitions, but the topic has a fourth
    take(4)
    assert not until()
    take(5)
    assert not until()  # a late row waits
    late_rows_are_sent(1)
    learned(period=1)
    assert not until()  # a period is not trained
    learned(period=2, version=1, published=0)
    assert not until()  # a version is not published
    learned(period=2, version=1, published=1)
    assert until()
    producer.send(names.segments, PartitionSet(4).encode()).get(timeout=PATIENCE)
    assert not until()  # a record that the journal has not got
    with Journal.open(state / JOURNAL, fixed) as journal:
        ingest(journal, settings.periods, PartitionSet(4), 6)
    assert until()
    producer.send(names.interactions, b"x", partition=2).get(timeout=PATIENCE)
    assert not until()  # a message that no collector has read
    told = what_stays(settings)
    assert "trained up to period 2, published up to version 1" in told
    assert "open period 3: 2 rows" in told
    assert "the remaining 2 rows stay open" in told
    assert "a period has 3" in told
    learned(period=3, version=1, published=1)
    take(7)
    assert not until()  # all is read, trained and published, but partition 2 has begun again


def with_late_rows_and_a_gap() -> tuple[Interactions, list[int]]:
    """Rows that go on weeks later in the middle of the fourth day, and where those lie that come much too late."""
    rows = drifting_stream(900, users=60, items=40, seed=7, explicit=True, days=6.0)
    times = np.where(np.arange(900) < 475, rows.times, rows.times + 20 * 86_400_000_000)
    late = [300, 500, 700]
    order = np.insert(np.delete(np.arange(900), [10, 11, 12]), np.array(late) - np.arange(3), [10, 11, 12])
    return replace(rows, times=times).select(order), late


@pytest.mark.broker
def test_a_finished_stream_ends_the_worker_with_the_versions_and_late_rows_of_its_replay(
    settings: WorkerSettings, tmp_path: Path, reader: Callable[[str], Reader]
) -> None:
    names = replace(settings.topics, interactions=f"{settings.topics.interactions}-1", partitions=1)
    topics.create(settings.kafka, names)
    rows, late = with_late_rows_and_a_gap()
    recording = write(tmp_path / "stream.parquet", rows)
    periods = EventTime(length=86_400.0, late="dead-letter")
    results = list(replay(recording, ReplaySettings(periods=periods, learning=LEARNING), tmp_path / "replay"))
    assert [result.period for result in results] == [1, 2, 3, 4, *range(24, 24 + len(results) - 4)]
    config = tmp_path / "asmg.toml"
    config.write_text(
        f"""
        model = "{settings.model}"
        state_directory = "{settings.state_directory}"
        kafka = {{ bootstrap = "{settings.kafka.bootstrap}" }}
        periods = {{ length = "1d", late = "dead-letter" }}
        publish = {{ keep = 0 }}
        learning = {{ pretrain = 2, passes = 2, initialisations = 2, batch = 64, device = "cpu" }}
        [topics]
        interactions = "{names.interactions}"
        segments = "{names.segments}"
        models = "{names.models}"
        dead_letters = "{names.dead_letters}"
        """
    )

    produce(recording, settings.kafka, names.interactions, settings.records, end=True)
    command = [sys.executable, "-m", "stream_app.cli", "--config", str(config), "worker", "--until-end"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = manifests(reader(names.models).until(lambda found: len(manifests(found)) >= len(results) - 1))
    assert [one.digest for one in found] == [result.digest for result in results if result.version]
    assert f"trained up to period {results[-1].period}, published up to version {len(found)}" in told
    assert f"open period {results[-1].period + 1}: 0 rows" in told
    letters = [decode(one.key, one.value) for one in reader(names.dead_letters).until(lambda found: len(found) >= 3)]
    assert [(letter.reason, letter.offset) for letter in letters] == [("late", offset) for offset in late]
    sent = [msgpack.unpackb(letter.value or b"")["user_id"] for letter in letters]
    assert sent == rows.users[late].tolist()
    assert reader(names.dead_letters).ends() == {0: 3}


def manifests(records: list[Any]) -> list[Manifest]:
    return [Manifest.unpack(one.value) for one in records if one.key.endswith(b"/manifest")]

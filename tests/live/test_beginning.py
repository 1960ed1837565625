"""Where reading begins, and that every refusal about topics has a remedy that works: `asmg worker --new-run`."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from live_helpers import PATIENCE, Asmg, Reader, decoded, journal_of, manifests, record
from segments_by_hand import Row, segment

from stream_app.errors import GroupInUse, NewerRun, StoreLocked, TopicRecreated
from stream_app.events.segment import PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.fixed import fixed_for_journal
from stream_app.live.alone import alone
from stream_app.live.cluster import groups as cluster
from stream_app.live.cluster.beginning import begin_new_run, first_start
from stream_app.live.stages.collect import Collect
from stream_app.live.stages.collect_settings import CollectSettings
from stream_app.live.stages.transport import Batch, Known
from stream_app.live.stages.window import Window
from stream_app.live.state_directory import JOURNAL, TRAINER, put_aside
from stream_app.live.training.trainer_status import TrainerStatus
from stream_app.live.worker import Role
from stream_app.live.worker_settings import WorkerSettings
from stream_app.pipeline import ingest
from stream_app.store.journal import Journal
from stream_app.store.journal_view import JournalView

Start = Callable[[WorkerSettings, Role], Any]
HOUR = 3_600_000


@pytest.fixture
def admin(broker: str) -> Iterator[KafkaAdminClient]:
    """A plain admin client."""
    client = KafkaAdminClient(bootstrap_servers=broker)
    yield client
    client.close()


def remade(admin: KafkaAdminClient, topic: str, partitions: int) -> None:
    """Delete the topic and make it again."""
    admin.delete_topics([topic])
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}})


def committed(settings: WorkerSettings, group: str = "collect") -> dict[int, int]:
    """What a plain client finds committed, by partition."""
    topic = settings.topics.interactions if group == "collect" else settings.topics.segments
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, group_id=f"asmg-{settings.model}-{group}")
    try:
        found = {n: consumer.committed(TopicPartition(topic, n)) for n in consumer.partitions_for_topic(topic)}
    finally:
        consumer.close()
    return {n: offset for n, offset in found.items() if offset is not None}


def made_journal(settings: WorkerSettings, stream: list[SegmentsRecord]) -> None:
    """The journal of a worker that has read these records."""
    fixed = fixed_for_journal(settings.records, settings.periods)
    with Journal.open(settings.state_directory / JOURNAL, fixed) as journal:
        for position, one in enumerate(stream):
            ingest(journal, settings.periods, one, position)


def rows_in(records: list[Any]) -> list[int]:
    """The users in the segments of a topic, in order."""
    return [user for one in decoded(records) if isinstance(one, Segment) for user in one.interactions.users.tolist()]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("earliest", {}),  # nothing needs committing
        ("latest", {0: 3, 1: 2, 2: 0, 3: 0}),
        ("1970-01-01T03:00:00+01:00", {0: 1, 1: 2, 2: 0, 3: 0}),  # after all of partition 1
    ],
)
def test_a_first_start_begins_where_the_setting_says_and_only_once(
    settings: WorkerSettings, producer: KafkaProducer, start: str, expected: dict[int, int]
) -> None:
    settings = replace(settings, collect=CollectSettings(start=start))
    for partition, hour in [(0, 1), (0, 2), (0, 3), (1, 1), (1, 1)]:
        # Kafka's timestamps count, not the times of the events.
        producer.send(settings.topics.interactions, record(1, 1, 9), partition=partition, timestamp_ms=hour * HOUR)
    producer.flush(timeout=PATIENCE)
    first_start(settings)
    assert committed(settings) == expected
    producer.send(settings.topics.interactions, record(1, 1, 9), partition=3).get(timeout=PATIENCE)
    first_start(settings)
    assert committed(settings) == expected


@pytest.mark.broker
def test_from_latest_on_only_what_comes_later_is_collected(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    settings = replace(settings, collect=CollectSettings(start="latest"))
    for user in (1, 2, 3):
        producer.send(settings.topics.interactions, record(user, 1, 1000), partition=user).get(timeout=PATIENCE)
    first_start(settings)
    for user in (4, 5):  # before any collector runs
        producer.send(settings.topics.interactions, record(user, 1, 1000), partition=2).get(timeout=PATIENCE)
    start(settings, "collect")
    assert rows_in(reader(settings.topics.segments).until(lambda records: len(rows_in(records)) >= 2)) == [4, 5]


@pytest.mark.broker
def test_where_kafka_has_forgotten_the_group_the_journal_says_where_to_go_on(settings: WorkerSettings) -> None:
    settings = replace(settings, collect=CollectSettings(start="latest"))
    row = Row(1000, 1, 1, 1)
    made_journal(settings, [PartitionSet(4), segment(1, 0, [row, row]), segment(2, 5, [row])])
    first_start(settings)
    assert committed(settings) == {1: 2, 2: 6}  # the others are read from their earliest record


@pytest.mark.broker
def test_a_remade_topic_with_fewer_partitions_stops_the_worker_and_the_remedy_it_names_works(
    settings: WorkerSettings,
    asmg: Asmg,
    producer: KafkaProducer,
    admin: KafkaAdminClient,
    reader: Callable[[str], Reader],
) -> None:
    source, written = settings.topics.interactions, reader(settings.topics.segments)
    fixed = fixed_for_journal(settings.records, replace(settings.periods, count=100, lateness=0))
    with Journal.open(settings.state_directory / JOURNAL, fixed) as journal:
        ingest(journal, settings.periods, PartitionSet(4, "an-id-of-before"), 0)
        ingest(journal, settings.periods, segment(3, 0, [Row(1000, 1, 1, 1)]), 1)
    remade(admin, source, partitions=2)
    for n in range(350):
        producer.send(source, record(n % 17, n % 5, 1000 + n, n % 2), partition=n % 2)
    producer.flush(timeout=PATIENCE)

    refused = asmg("worker")
    _, said = refused.communicate(timeout=PATIENCE)
    (line,) = said.splitlines()
    assert (refused.returncode, source in line, "asmg worker --new-run" in line) == (3, True, True)
    assert written.ends() == {0: 0}
    with JournalView.beside(settings.state_directory / JOURNAL) or pytest.fail("no journal") as journal:
        assert (journal.position, journal.topic_id, journal.partitions) == (2, "an-id-of-before", 4)

    asmg("worker", "--new-run")
    found = reader(settings.topics.models).until(lambda records: len(manifests(records)) >= 2)
    run, *starts, partitions = decoded(written.until(lambda records: len(records) >= 4))[:4]
    assert isinstance(run, RunMark)
    assert begins(starts) == {0: 0, 1: 0}
    assert isinstance(partitions, PartitionSet)
    assert partitions.count == 2
    assert [(one.content.version, one.content.period.number, one.envelope.run) for one in manifests(found)[:2]] == [
        (1, 2, run.run),
        (2, 3, run.run),
    ]
    assert {entry.name for entry in settings.state_directory.parent.glob("state.before-*/*")} >= {JOURNAL}


@pytest.mark.broker
def test_a_remade_segments_topic_with_a_gap_stops_the_window_and_a_new_run_cures_it(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, admin: KafkaAdminClient
) -> None:
    topic = settings.topics.segments
    for user in range(4):
        producer.send(settings.topics.interactions, record(user, 1, 1000), partition=user).get(timeout=PATIENCE)
    before = [start(settings, "collect"), start(settings, "window")]
    with journal_of(settings, rows=4) as journal:
        kept, old_run = dict(journal.marks), journal.run
    for process in before:
        process.kill()
        process.join()
    remade(admin, topic, partitions=1)
    for first in range(20, 40):  # the topic has grown past the journal's position
        producer.send(topic, segment(0, first, [Row(2000, 9, 9, 1)]).encode()).get(timeout=PATIENCE)
    refused = start(settings, "window")
    refused.join(timeout=PATIENCE)
    assert refused.exitcode == 1
    with journal_of(settings, rows=4) as journal:
        assert dict(journal.marks) == kept

    begun = begin_new_run(settings)
    assert committed(settings, "window")[0] >= 20
    start(settings, "collect")
    start(settings, "window")
    with journal_of(settings, rows=4) as journal:
        assert (journal.run, old_run) == (begun.name, "")
        assert {n: (mark.next_offset, mark.rows) for n, mark in journal.marks.items()} == dict.fromkeys(
            range(4), (1, 1)
        )


def test_a_journal_of_another_segments_topic_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    settings = WorkerSettings(state_directory=tmp_path)
    fixed = fixed_for_journal(settings.records, settings.periods)
    made_journal(settings, [PartitionSet(1), segment(0, 0, [Row(1, 1, 1, 1)])])

    def starts(topic_id: str) -> int:
        window = Window(settings.kafka, settings.topics, settings.periods, tmp_path, fixed, settings.window)
        try:
            return window.start_of(Known(None, 0, 40), topic_id)
        finally:
            window.revoked()

    assert (starts("first"), starts("")) == (2, 2)
    with pytest.raises(TopicRecreated, match=rf"{settings.topics.segments} .*first.*second.*worker --new-run"):
        starts("second")
    with JournalView.beside(tmp_path / JOURNAL) or pytest.fail("no journal") as journal:
        assert (journal.position, journal.segments_id) == (2, "first")


@pytest.mark.broker
def test_the_directory_of_an_older_run_is_refused_and_an_empty_one_begins_at_the_mark(
    settings: WorkerSettings, tmp_path: Path, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    made_journal(settings, [PartitionSet(4), segment(1, 0, [Row(1000, 1, 1, 1)])])
    producer.send(settings.topics.segments, PartitionSet(4).encode()).get(timeout=PATIENCE)
    begun = begin_new_run(replace(settings, state_directory=tmp_path / "other"))
    assert (begun.aside, committed(settings)) == (None, dict.fromkeys(range(4), 0))
    with pytest.raises(NewerRun, match=begun.name):
        first_start(settings)
    (partitions, mark, *starts) = decoded(reader(settings.topics.segments).until(lambda records: len(records) >= 6))
    assert mark == RunMark(begun.name)
    assert begins(starts) == dict.fromkeys(range(4), 0)
    assert isinstance(partitions, PartitionSet)
    first_start(replace(settings, state_directory=tmp_path / "empty"))
    assert committed(settings, "window") == {0: 1}


def begins(records: list[SegmentsRecord]) -> dict[int, int]:
    """Where empty segments say that their partitions begin."""
    starts = [one for one in records if isinstance(one, Segment)]
    assert all(len(one) == 0 and one.first_offset == one.next_offset for one in starts)
    return {one.partition: one.first_offset for one in starts}


@pytest.mark.broker
def test_a_new_run_is_refused_while_a_worker_of_the_model_runs_and_nothing_changes(
    settings: WorkerSettings, tmp_path: Path, start: Start, reader: Callable[[str], Reader], monkeypatch: Any
) -> None:
    monkeypatch.setattr(cluster, "MEMBERS_GO_AFTER", 0.0)
    start(settings, "collect")
    written = reader(settings.topics.segments)
    written.until(lambda records: len(records) >= 1)
    other = replace(settings, state_directory=tmp_path / "other")
    (other.state_directory / JOURNAL).mkdir(parents=True)
    # Of a container that is gone: its number belongs to another process by now, which must not stand in the way.
    (other.state_directory / TRAINER).write_text(json.dumps(asdict(TrainerStatus(process=os.getpid()))))
    with pytest.raises(GroupInUse, match=f"asmg-{settings.model}-collect"):
        begin_new_run(other)
    with alone(other.state_directory, "collect-0"), pytest.raises(StoreLocked):
        begin_new_run(other)
    assert {entry.name for entry in other.state_directory.iterdir()} == {JOURNAL, TRAINER, "collect-0.lock"}
    assert (written.ends(), committed(settings, "window")) == ({0: 1}, {})


def test_a_state_directory_that_cannot_be_renamed_keeps_the_old_state_within(tmp_path: Path) -> None:
    state = tmp_path / ("s" * 250)  # no name that is longer is allowed beside it; a mount point behaves alike
    for run in ("first", "second"):
        (state / JOURNAL).mkdir(parents=True)
        (state / JOURNAL / run).touch()
        aside = put_aside(state)
        assert aside is not None
        assert (aside.parent, [file.name for file in aside.glob("*/*")]) == (state, [run])
        assert put_aside(state) is None  # there is nothing but what was put aside
        time.sleep(0.01)  # each has its own time in its name
    assert len(list(state.iterdir())) == 2


@pytest.mark.broker
def test_a_topic_that_is_deleted_under_a_collector_ends_it_by_name(
    settings: WorkerSettings, start: Start, admin: KafkaAdminClient, reader: Callable[[str], Reader], capfd: Any
) -> None:
    collector = start(settings, "collect")
    reader(settings.topics.segments).until(lambda records: len(records) >= 1)
    admin.delete_topics([settings.topics.interactions])
    collector.join(timeout=PATIENCE)
    assert collector.exitcode == 1
    assert f"Unavailable: topic {settings.topics.interactions} is not there" in capfd.readouterr().err


@pytest.mark.broker
def test_nothing_of_a_topic_that_was_made_anew_between_two_fetches_is_passed_on(
    settings: WorkerSettings, producer: KafkaProducer, admin: KafkaAdminClient, reader: Callable[[str], Reader]
) -> None:
    """The new topic may have grown past where the old one was read: its offsets look as if they went on."""
    source = TP(settings.topics.interactions, 0)
    row = ConsumerRecord(*source, 5, 0, 0, None, record(1, 1, 1000), None, 0, 0, ())

    async def run() -> None:
        collect = Collect(settings.kafka, settings.topics, settings.records, settings.collect)
        await collect.start()
        await collect.starts({source: Known(None, 5, 5)})
        remade(admin, source.topic, partitions=4)
        with pytest.raises(TopicRecreated, match=rf"{source.topic} .*worker --new-run"):
            await collect.take(Batch(*source, 5, 6, [row]))
        assert collect.hints == {}
        await collect.stop()

    asyncio.run(run())
    assert reader(settings.topics.segments).ends() == {0: 1}  # the partitions alone

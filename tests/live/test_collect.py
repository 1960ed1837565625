"""Promise 1 at the first stage: whatever arrives is in exactly one place, and the stream goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from live_helpers import PATIENCE, Reader, decoded, record

from stream_app.events.record import RecordSettings
from stream_app.events.segment import END, PartitionSet, Segment
from stream_app.live.worker import Role
from stream_app.live.worker_settings import WorkerSettings

pytestmark = pytest.mark.broker
Start = Callable[[WorkerSettings, Role], Any]
Row = tuple[int, int, int, int, int]


def segments(records: list[Any]) -> list[Segment]:
    return [found for found in decoded(records) if isinstance(found, Segment)]


def collected(ends: dict[int, int]) -> Callable[[list[Any]], bool]:
    """Whether segments have come up to these offsets."""

    def enough(records: list[Any]) -> bool:
        reached = dict.fromkeys(ends, 0)
        for segment in segments(records):
            reached[segment.partition] = max(reached[segment.partition], segment.next_offset)
        return reached == ends

    return enough


def rows(parts: list[Segment]) -> list[Row]:
    """(partition, offset, user, item, time in us) of every row, in the order of the segments, repeats cut by hand."""
    found, seen = [], defaultdict(int)
    for part in parts:
        assert part.first_offset <= seen[part.partition], "a hole between two segments"
        columns = part.interactions
        for n, offset in enumerate(part.offsets.tolist()):
            if offset >= seen[part.partition]:
                found.append((part.partition, offset, columns.users[n], columns.items[n], columns.times[n]))
        seen[part.partition] = max(seen[part.partition], part.next_offset)
    return found


def send(producer: KafkaProducer, topic: str, users: range) -> list[Row]:
    """One valid record a user, spread over 4 partitions; where each one lies."""
    futures = [(producer.send(topic, record(user, user % 7, 1000 + user), partition=user % 4), user) for user in users]
    placed = [(future.get(timeout=PATIENCE), user) for future, user in futures]
    return [(at.partition, at.offset, user, user % 7, (1000 + user) * 1_000_000) for at, user in placed]


def test_every_valid_record_is_in_a_segment_and_every_other_in_the_dead_letters(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    topic = settings.topics.interactions
    expected = send(producer, topic, range(400))
    hostile = [b"", b"\x00", b"not msgpack at all", msgpack.packb([1, 2]), msgpack.packb({"user_id": "x"})]
    refused = [producer.send(topic, value, partition=n % 4).get(timeout=PATIENCE) for n, value in enumerate(hostile)]
    expected += send(producer, topic, range(400, 500))
    producer.send(topic, msgpack.packb({"watermark": "end"}), partition=2).get(timeout=PATIENCE)

    start(settings, "collect")
    written = reader(settings.topics.segments)
    parts = decoded(written.until(collected(reader(topic).ends())))
    assert isinstance(parts[0], PartitionSet)
    assert parts[0].count == 4
    found = segments(written.records)
    assert sorted(rows(found)) == sorted(expected)
    assert [(part.partition, time) for part in found for _, time in part.marks] == [(2, END)]

    letters = reader(settings.topics.dead_letters).until(lambda records: len(records) == len(hostile))
    bodies = {letter.key.decode(): msgpack.unpackb(letter.value) for letter in letters}
    assert set(bodies) == {f"{topic}/{at.partition}/{at.offset}" for at in refused}
    for at, value in zip(refused, hostile, strict=True):
        body = bodies[f"{topic}/{at.partition}/{at.offset}"]
        assert body["value"] == value
        assert body["reason"]
        assert body["origin"]["timestamp"] == at.timestamp


def test_batched_messages_with_users_in_headers_become_rows_at_their_offsets(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    chosen = RecordSettings(batched=True, user="header:user", item="payload.items", label="", where={"type": ("view",)})
    topic = settings.topics.interactions
    message = {"type": "view", "payload": {"items": [5, 6, 7]}, "timestamp": [1000, 1001, 1002]}
    wrong = {**message, "timestamp": [1000, 2**61, 1002]}
    headers = [("user", b"42"), ("trace", b"\xff")]
    for value in (message, {"type": "ping"}, wrong, message):
        producer.send(topic, msgpack.packb(value), partition=1, headers=headers).get(timeout=PATIENCE)

    start(replace(settings, records=chosen), "collect")
    written = reader(settings.topics.segments)
    parts = segments(written.until(collected({0: 0, 1: 4, 2: 0, 3: 0})))
    found = [
        (offset, user) for part in parts for offset, user in zip(part.offsets, part.interactions.users, strict=True)
    ]
    assert found == [(0, 42)] * 3 + [(3, 42)] * 3
    assert [item for part in parts for item in part.interactions.items.tolist()] == [5, 6, 7] * 2
    (letter,) = reader(settings.topics.dead_letters).until(lambda records: len(records) == 1)
    body = msgpack.unpackb(letter.value)
    assert (body["reason"], body["field"], body["origin"]["offset"]) == ("out-of-range", "timestamp[1]", 2)


def test_holes_of_transactions_are_covered_and_aborted_records_are_never_seen(
    settings: WorkerSettings, start: Start, broker: str, reader: Callable[[str], Reader]
) -> None:
    topic = settings.topics.interactions
    writer = KafkaProducer(bootstrap_servers=broker, transactional_id=f"tx-{settings.model}")
    writer.init_transactions()
    for user in range(30):
        writer.begin_transaction()
        writer.send(topic, record(user, 1, 1000 + user), partition=0)
        writer.flush()
        if user % 3 == 0:
            writer.abort_transaction()
        else:
            writer.commit_transaction()
    writer.close()

    start(settings, "collect")
    written = reader(settings.topics.segments)
    # The last thing in the log is a transaction's mark: no record, and it must be covered all the same.
    written.until(collected({0: reader(topic).ends()[0], 1: 0, 2: 0, 3: 0}))
    assert [row[2] for row in rows(segments(written.records))] == [user for user in range(30) if user % 3]


def test_ended_and_started_again_nothing_is_lost_and_nothing_is_twice(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    topic, written = settings.topics.interactions, reader(settings.topics.segments)
    expected = send(producer, topic, range(1000))
    collector = start(settings, "collect")
    written.until(lambda records: len(segments(records)) >= 1)
    collector.terminate()
    expected += send(producer, topic, range(1000, 2000))
    collector.join(timeout=5)
    assert collector.exitcode == 0

    start(settings, "collect")
    written.until(collected(reader(topic).ends()))
    assert sorted(rows(segments(written.records))) == sorted(expected)


def test_killed_in_the_middle_and_started_again_nothing_is_lost_and_nothing_is_twice(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    topic, written = settings.topics.interactions, reader(settings.topics.segments)
    expected = send(producer, topic, range(1000))
    collector = start(settings, "collect")
    written.until(lambda records: len(segments(records)) >= 1)
    collector.kill()
    collector.join()
    expected += send(producer, topic, range(1000, 2000))

    start(settings, "collect")
    written.until(collected(reader(topic).ends()))
    assert sorted(rows(segments(written.records))) == sorted(expected)


def test_partitions_that_are_added_while_a_collector_runs_are_told_and_collected(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    topic, written = settings.topics.interactions, reader(settings.topics.segments)
    start(settings, "collect")
    written.until(lambda records: len(records) >= 1)
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    admin.create_partitions({topic: 5})
    admin.close()
    at = producer.send(topic, record(1, 1, 1000), partition=4).get(timeout=PATIENCE)  # before anybody has noticed
    # The new assignment comes within 10 seconds, when the client asks for its metadata again.
    first, second = decoded(written.until(lambda records: len(records) >= 2))
    assert isinstance(first, PartitionSet)
    assert isinstance(second, PartitionSet)
    assert (first.count, second.count) == (4, 5)
    assert first.topic_id == second.topic_id != ""
    written.until(collected({4: at.offset + 1}))

"""Sending a recording: every valid row once, each user's rows in order on one partition, at the time of sending."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from replay_helpers import SETTINGS, stream, write

from stream_app.broker import KafkaSettings
from stream_app.cli.main import main
from stream_app.errors import BadInput, Unavailable
from stream_app.events.record import RecordSettings
from stream_app.produce import produce

PARTITIONS = 3

pytestmark = pytest.mark.broker


def made(broker: str, name: str) -> str:
    topic = f"{name}-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics({topic: {"num_partitions": PARTITIONS, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()
    return topic


def everything(broker: str, topic: str) -> dict[int, list[Any]]:
    """All records by partition, read by a plain client."""
    consumer = KafkaConsumer(bootstrap_servers=broker, group_id=None, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    found: dict[int, list[Any]] = defaultdict(list)
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for partition, records in consumer.poll(timeout_ms=500).items():
            found[partition.partition] += records
    consumer.close()
    return found


def test_every_row_arrives_once_in_the_order_of_its_user(broker: str, tmp_path: Path) -> None:
    rows = stream()
    recording = write(tmp_path / "stream.parquet", rows)
    topic = made(broker, "produce-order")
    told: list[int] = []
    sent = produce(recording, KafkaSettings(broker), topic, SETTINGS.records, end=True, told=told.append)
    assert (sent.interactions, sent.bad, sent.partitions) == (len(rows), 0, PARTITIONS)
    assert told[-1] == len(rows)
    by_user: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    places: dict[int, set[int]] = defaultdict(set)
    for number, records in everything(broker, topic).items():
        *interactions, last = records
        assert msgpack.unpackb(last.value) == {"watermark": "end"}
        for record in interactions:
            fields = msgpack.unpackb(record.value)
            assert record.key == str(fields["user_id"]).encode()
            # Retention goes by this: an old event time here would have the record deleted before it is read.
            assert abs(record.timestamp / 1000 - time.time()) < 3600
            by_user[fields["user_id"]].append((fields["timestamp"], fields["item_id"], fields["label"]))
            places[fields["user_id"]].add(number)
    expected: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for user, item, moment, label in zip(rows.users, rows.items, rows.times, rows.labels, strict=True):
        expected[int(user)].append((int(moment) // 1_000_000, int(item), int(label)))
    assert by_user == expected
    assert {len(numbers) for numbers in places.values()} == {1}


def test_bad_rows_are_counted_and_not_sent(broker: str, tmp_path: Path) -> None:
    rows = stream()
    labels = rows.labels.copy()
    labels[:3] = np.nan
    topic = made(broker, "produce-bad")
    sent = produce(
        write(tmp_path / "stream.parquet", rows, label=labels), KafkaSettings(broker), topic, SETTINGS.records
    )
    assert (sent.interactions, sent.bad) == (len(rows) - 3, 3)
    assert sum(map(len, everything(broker, topic).values())) == len(rows) - 3


def test_categories_are_sent_with_their_rows(broker: str, tmp_path: Path) -> None:
    rows = stream()
    tags = [["b", "a"][: user % 3] for user in rows.users.tolist()]
    topic = made(broker, "produce-categories")
    recording = write(tmp_path / "stream.parquet", rows, tags=tags)
    produce(recording, KafkaSettings(broker), topic, replace(SETTINGS.records, categories="tags"))
    records = [msgpack.unpackb(record.value) for part in everything(broker, topic).values() for record in part]
    assert len(records) == len(rows)
    assert all(fields["tags"] == [[], ["b"], ["a", "b"]][fields["user_id"] % 3] for fields in records)


def test_a_topic_that_is_not_there_is_named_and_not_made(broker: str, tmp_path: Path) -> None:
    recording = write(tmp_path / "stream.parquet", stream())
    with pytest.raises(Unavailable, match="produce-nowhere"):
        produce(recording, KafkaSettings(broker), "produce-nowhere", SETTINGS.records)
    admin = KafkaAdminClient(bootstrap_servers=broker)
    assert "produce-nowhere" not in admin.list_topics()
    admin.close()


def test_a_recording_that_cannot_be_read_sends_nothing(broker: str, tmp_path: Path) -> None:
    topic = made(broker, "produce-nothing")
    with pytest.raises(BadInput, match="no such file"):
        produce(tmp_path / "nowhere.parquet", KafkaSettings(broker), topic, SETTINGS.records, end=True)
    assert everything(broker, topic) == {}


def test_a_generated_stream_is_sent_without_its_truth(broker: str, tmp_path: Path) -> None:
    recording = tmp_path / "stream.csv"
    assert main(["generate", str(recording), "--interactions", "300", "--users", "20", "--items", "10"]) == 0
    topic = made(broker, "produce-generated")
    sent = produce(recording, KafkaSettings(broker), topic, RecordSettings())
    assert (sent.interactions, sent.bad) == (300, 0)
    values = [msgpack.unpackb(record.value) for records in everything(broker, topic).values() for record in records]
    assert len(values) == 300
    assert {tuple(sorted(value)) for value in values} == {("item_id", "label", "timestamp", "user_id")}

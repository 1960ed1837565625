"""Where topics begin and end, asked by a plain client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import preflight
from stream_app.errors import Unavailable

_ANSWER_MS = 8_000


class Range(NamedTuple):
    """The offsets that a partition holds: [earliest, end)."""

    earliest: int
    end: int


Ends = Mapping[int, Range]
"""By partition."""


def ends_of(kafka: KafkaSettings, topics: Iterable[str]) -> dict[str, Ends]:
    """What each of these topics holds, up to the last committed record. Raises Unavailable within seconds."""
    names = list(topics)
    preflight(kafka, names)
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    try:
        consumer = KafkaConsumer(**kafka.plain_reader())
        try:
            tps = [TopicPartition(name, n) for name in names for n in consumer.partitions_for_topic(name) or ()]
            earliest, ends = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
        finally:
            consumer.close()
    except KafkaError as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap} does not say where its topics end: {error}") from error
    return {
        name: {tp.partition: Range(earliest[tp], ends[tp]) for tp in sorted(tps) if tp.topic == name} for name in names
    }


def committed(kafka: KafkaSettings, group: str, topic: str) -> dict[int, int]:
    """The offsets that a consumer group has committed, of the partitions where it has. Raises Unavailable."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    try:
        consumer = KafkaConsumer(**kafka.kafka_python(), group_id=group, enable_auto_commit=False)
        try:
            tps = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            found = {tp.partition: consumer.committed(tp, timeout_ms=_ANSWER_MS) for tp in tps}
        finally:
            consumer.close(autocommit=False)
    except KafkaError as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap} does not say where group {group} is: {error}") from error
    return {partition: int(offset) for partition, offset in found.items() if offset is not None}

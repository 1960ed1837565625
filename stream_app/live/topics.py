"""The four topics: their names, how they are made, and whether they are as they must be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stream_app.broker import KafkaSettings, preflight
from stream_app.errors import SettingsError, Unavailable

_MESSAGE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class TopicSettings:
    """Names of the topics; `partitions` (of interactions) and `replication` are used only when they are created."""

    interactions: str = "interactions"
    segments: str = "asmg-segments"
    models: str = "asmg-models"
    dead_letters: str = "asmg-dead-letters"
    partitions: int = 4
    replication: int = 1

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError("interactions, segments, models and dead_letters must be four different topics")
        for name in ("partitions", "replication"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more, is {getattr(self, name)}")

    @property
    def names(self) -> tuple[str, str, str, str]:
        """All four, in the order in which data flow."""
        return self.interactions, self.segments, self.models, self.dead_letters


def wanted(topics: TopicSettings) -> dict[str, dict[str, Any]]:
    """What `create` asks of Kafka: {topic: {num_partitions, replication_factor, configs}}.

    Segments are a recording: everything can be rebuilt from them, so long as their retention says. A model version is
    many chunks and a manifest under keys that are never used again, so that compaction may only drop what has been
    replaced by a tombstone. Both have one partition, since their order is their meaning.
    """
    deleted, large = {"cleanup.policy": "delete"}, {"max.message.bytes": str(_MESSAGE_BYTES)}
    kinds: dict[str, tuple[int, dict[str, str]]] = {
        topics.interactions: (topics.partitions, deleted | _days(7)),
        topics.segments: (1, deleted | _days(7) | large),
        topics.models: (1, {"cleanup.policy": "compact"} | large),
        topics.dead_letters: (1, deleted | _days(30) | large),
    }
    return {
        name: {"num_partitions": count, "replication_factor": topics.replication, "configs": configs}
        for name, (count, configs) in kinds.items()
    }


def create(kafka: KafkaSettings, topics: TopicSettings) -> list[str]:
    """Creates the topics that are not there; returns their names. What is there stays as it is.

    Raises Unavailable when the broker cannot be reached or refuses.
    """
    preflight(kafka)
    from kafka.errors import KafkaError, TopicAlreadyExistsError

    admin = _admin(kafka)
    try:
        present = set(admin.list_topics())
        missing = {name: options for name, options in wanted(topics).items() if name not in present}
        if missing:
            admin.create_topics(missing, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        # Somebody else creates them at this moment: what is still missing is seen by the next look.
        return create(kafka, topics)
    except KafkaError as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap} did not create the topics: {error}") from error
    finally:
        admin.close()
    return list(missing)


def check(kafka: KafkaSettings, topics: TopicSettings) -> None:
    """Returns when all topics are there and fit. Raises Unavailable (broker or topic missing) or SettingsError."""
    preflight(kafka, topics.names)
    admin = _admin(kafka)
    try:
        counts = partition_counts(admin, topics.names)
    finally:
        admin.close()
    for key in ("segments", "models"):
        name = getattr(topics, key)
        if counts[name] != 1:
            raise SettingsError(
                f"topics.{key}",
                f"{name} has {counts[name]} partitions, but its order is its meaning",
                "name a topic of one partition, or let `asmg topics create` make it",
            )


def partition_counts(admin: Any, names: Iterable[str]) -> dict[str, int]:
    """How many partitions each of these topics has, asked through kafka-python's admin client."""
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(list(names))}


def _days(count: int) -> dict[str, str]:
    return {"retention.ms": str(count * 86_400_000)}


def _admin(kafka: KafkaSettings) -> Any:
    from kafka import KafkaAdminClient

    return KafkaAdminClient(**kafka.kafka_python())

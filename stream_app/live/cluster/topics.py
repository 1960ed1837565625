"""The four topics: their names, what each must be like, and how they are made."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import connect, principal
from stream_app.broker.rights import Right, describe
from stream_app.errors import Unavailable

MESSAGE_BYTES = 2 * 1024 * 1024
"""max.message.bytes of the topics that hold messages of up to 900 KB, when they are made."""

_TOPIC = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,249}")


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
        for name in ("interactions", "segments", "models", "dead_letters"):
            if not _TOPIC.fullmatch(given := getattr(self, name)):
                raise ValueError(f"{name}: Kafka allows 1 to 249 of A-Z a-z 0-9 . _ -, and not . or .., is {given!r}")
        if len(set(self.names)) != len(self.names):
            raise ValueError("interactions, segments, models and dead_letters must be four different topics")
        for name in ("partitions", "replication"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more, is {getattr(self, name)}")

    @property
    def names(self) -> tuple[str, str, str, str]:
        """All four, in the order in which data flow."""
        return self.interactions, self.segments, self.models, self.dead_letters


@dataclass(frozen=True)
class WantedTopic:
    """What a topic is for and how it is made. configs: Kafka's names of settings and their values."""

    name: str
    purpose: str
    partitions: int
    replication: int
    configs: dict[str, str]

    def command(self, bootstrap: str) -> str:
        """The command of Kafka's own tools that makes it."""
        words = ["kafka-topics", "--bootstrap-server", bootstrap, "--create", "--topic", self.name]
        words += ["--partitions", str(self.partitions), "--replication-factor", str(self.replication)]
        for key, value in self.configs.items():
            words += ["--config", f"{key}={value}"]
        return shlex.join(words)


def wanted(topics: TopicSettings) -> list[WantedTopic]:
    """The four topics as `create` makes them.

    Segments are a recording: everything can be rebuilt from them, so long as their retention says. A model version is
    many chunks and a manifest under keys that are never used again, so that compaction may only drop what has been
    replaced by a tombstone. Both have one partition, since their order is their meaning.
    """
    deleted, large = {"cleanup.policy": "delete"}, {"max.message.bytes": str(MESSAGE_BYTES)}
    kinds: list[tuple[str, str, int, dict[str, str]]] = [
        (topics.interactions, "what users did, from your own systems", topics.partitions, deleted | _days(7)),
        (topics.segments, "what was read, as columns: state is rebuilt from it", 1, deleted | _days(7) | large),
        (topics.models, "model versions, for subscribers", 1, {"cleanup.policy": "compact"} | large),
        (topics.dead_letters, "messages that are no interactions, and why", 1, deleted | _days(30) | large),
    ]
    return [WantedTopic(name, why, count, topics.replication, configs) for name, why, count, configs in kinds]


def create(kafka: KafkaSettings, topics: TopicSettings) -> list[str]:
    """Creates the topics that are not there; returns their names. What is there stays as it is.

    Raises Unavailable when no broker can be reached or creating fails, AccessDenied without the right to create one.
    """
    with connect(kafka) as connection:
        there = describe(connection, topics.names)
    missing = [topic for topic in wanted(topics) if there[topic.name].partitions is None]
    if missing:
        _create(kafka, missing)
    return [topic.name for topic in missing]


def _create(kafka: KafkaSettings, missing: list[WantedTopic]) -> None:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError

    admin = KafkaAdminClient(**kafka.kafka_python())
    try:
        for topic in missing:
            options: dict[str, Any] = {"num_partitions": topic.partitions, "replication_factor": topic.replication}
            try:
                admin.create_topics({topic.name: options | {"configs": topic.configs}}, wait_for_metadata=True)
            except TopicAlreadyExistsError:
                pass  # somebody else has just made it
            except TopicAuthorizationFailedError as error:
                right = Right("topic", topic.name, ("Create",), "asmg topics create makes it")
                raise right.denied(principal(kafka)) from error
    except KafkaError as error:
        raise Unavailable(f"Kafka at {kafka.bootstrap} did not create the topics: {error}") from error
    finally:
        admin.close()


def _days(count: int) -> dict[str, str]:
    return {"retention.ms": str(count * 86_400_000)}

"""Whether the topics that are there are as they must be; of each difference what is there, and what to do.

Partitions are always known. The settings of a topic are told only to whom may describe them (DescribeConfigs), which
is no right that anything here needs: without it, they are reported as not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stream_app.broker import KafkaSettings
from stream_app.broker.connection import Connection
from stream_app.broker.preflight import advertised, connect, granted, reach_each
from stream_app.broker.rights import Right, describe
from stream_app.errors import AccessDenied, SettingsError
from stream_app.live.cluster.topics import TopicSettings

LARGEST_MESSAGE = 1_000_000
"""Bytes of the largest message of segments and of models: 900 KB of data and what says what it is."""
LARGEST_LETTER = 100_000
SHORTEST_DAYS = 1
_DAY_MS = 86_400_000
_TOPIC = 2  # Kafka's number of the kind of resource
_READ = ("cleanup.policy", "max.message.bytes", "retention.ms")


@dataclass(frozen=True)
class Difference:
    """Something of a topic that is not as it must be (or, with `serious` False, not as it should be)."""

    key: str
    topic: str
    found: str
    remedy: str
    serious: bool = True

    def error(self) -> SettingsError:
        """As what ends a worker."""
        return SettingsError(f"topics.{self.key}", f"{self.topic} {self.found}", self.remedy)


@dataclass(frozen=True)
class Fit:
    """What was found. unchecked: topics whose settings we may not see."""

    differences: tuple[Difference, ...]
    unchecked: tuple[str, ...]


def check(kafka: KafkaSettings, topics: TopicSettings, rights: Iterable[Right] = ()) -> None:
    """Returns when a broker lets us in, all `rights` are granted, and all topics are there and fit.

    Raises AccessDenied naming the right, Unavailable (no broker, topic missing), SettingsError (unfit topic).
    """
    with connect(kafka) as connection:
        others = [address for address in advertised(connection) if address not in kafka.addresses]
        for error in reach_each(kafka, others).values():
            if isinstance(error, AccessDenied):
                raise error  # one that is only down is not our business: others may lead the partitions
        granted(connection, kafka, topics.names, rights)
        for difference in fit(connection, topics).differences:
            if difference.serious:
                raise difference.error()


def fit(connection: Connection, topics: TopicSettings) -> Fit:
    """Compares the topics that are there, and that we may see, with what they must be."""
    there = describe(connection, topics.names)
    configs = _configs(connection, topics.names)
    found: list[Difference] = []
    for key in ("interactions", "segments", "models", "dead_letters"):
        name = getattr(topics, key)
        count = there[name].partitions
        if key in ("segments", "models") and count not in (None, 1):
            remedy = "name a topic of one partition, or let `asmg topics create` make it"
            found.append(Difference(key, name, f"has {count} partitions, but its order is its meaning", remedy))
        if name in configs:
            found += _unfit(key, name, configs[name])
    return Fit(tuple(found), tuple(name for name in topics.names if name not in configs))


def _unfit(key: str, name: str, configs: Mapping[str, str]) -> list[Difference]:
    found = []
    policies = {policy.strip() for policy in configs["cleanup.policy"].split(",")}
    if key == "models" and policies != {"compact"}:
        said = f"has cleanup.policy={configs['cleanup.policy']}, which would remove versions that are served"
        found.append(Difference(key, name, said, "set cleanup.policy=compact"))
    if key in ("interactions", "segments") and "compact" in policies:
        said = f"has cleanup.policy={configs['cleanup.policy']}, which would remove rows before they are read"
        found.append(Difference(key, name, said, "set cleanup.policy=delete"))
    needed = {"segments": LARGEST_MESSAGE, "models": LARGEST_MESSAGE, "dead_letters": LARGEST_LETTER}.get(key, 0)
    if int(configs["max.message.bytes"]) < needed:
        said = f"takes messages of {configs['max.message.bytes']} bytes, ours may have {needed}"
        found.append(Difference(key, name, said, f"set max.message.bytes={needed} or more"))
    kept = int(configs["retention.ms"])
    if key in ("interactions", "segments") and 0 <= kept < SHORTEST_DAYS * _DAY_MS:
        said = f"keeps records for {kept / 3_600_000:.3g} hours: a worker that stands still for longer loses its way"
        found.append(Difference(key, name, said, "set a longer retention.ms", serious=False))
    return found


def _configs(connection: Connection, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of the topics that tell us theirs."""
    from kafka.protocol.admin import DescribeConfigsRequest

    request = DescribeConfigsRequest(resources=[(_TOPIC, name, list(_READ)) for name in names])
    return {
        answer.resource_name: {config.name: config.value for config in answer.configs}
        for answer in connection.ask(request).results
        if not answer.error_code
    }

"""What the broker says of a worker's topics and groups, looked up by plain clients in a fraction of a second."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from stream_app.errors import AsmgError, DamagedLetter, Unavailable
from stream_app.events.dead_letter import decode
from stream_app.live.cluster.ends import Ends, ends_of
from stream_app.live.cluster.topic_reader import TopicReader
from stream_app.live.worker_settings import WorkerSettings
from stream_app.sinks.standing import Standing, standing

LOOK_EVERY = 10.0
"""Seconds between two looks; each takes some 30 ms of this process."""
SILENT_AFTER = 30.0
"""Seconds after which an answer no longer counts: a look that hangs is no answer."""
SAMPLE = 200
"""The newest dead letters whose reasons are counted."""


@dataclass(frozen=True)
class GroupLook:
    """A consumer group: its state as Kafka names it ("Stable", "Empty", "Dead": not there) and how many are in it."""

    name: str
    state: str
    members: int


@dataclass(frozen=True)
class BrokerLook:
    """trouble: "" when the broker has answered, else why it has not; then nothing else is known."""

    trouble: str = ""
    ends: Mapping[str, Ends] = field(default_factory=dict)
    groups: tuple[GroupLook, ...] = ()


def look(settings: WorkerSettings) -> BrokerLook:
    """Where the four topics end and who is in our groups; whatever the broker does, it ends within seconds."""
    kafka = settings.kafka
    groups = [kafka.our("collect_group", settings.model), kafka.our("window_group", settings.model)]
    try:
        ends = ends_of(kafka, settings.topics.names)
        return BrokerLook("", ends, _described(settings, groups))
    except AsmgError as error:
        return BrokerLook(str(error))


def newest_reasons(settings: WorkerSettings) -> dict[str, int] | None:
    """How many of the SAMPLE newest dead letters have which reason; None where they may not or cannot be read."""
    found: Counter[str] = Counter()
    try:
        for record in _last(settings, settings.topics.dead_letters, SAMPLE):
            try:
                found[decode(record.key, record.value).reason] += 1
            except DamagedLetter:
                found["damaged"] += 1
    except AsmgError:
        return None
    return dict(found.most_common())


def models_topic(settings: WorkerSettings) -> Standing:
    """What holds on the models topic; nothing, where that may not or cannot be read."""
    try:
        return standing(settings.kafka, settings.topics.models, settings.model)
    except AsmgError:
        return Standing(None, None)


class BrokerWatch:
    """Looks every LOOK_EVERY seconds in a thread of its own, so that whoever asks never waits for a broker."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings, self._over = settings, threading.Event()
        self._last, self._at = BrokerLook("the broker has not been asked yet"), monotonic()
        self._thread = threading.Thread(target=self._run, name="broker-watch", daemon=True)
        self._thread.start()

    def last(self) -> BrokerLook:
        """What the broker last said; that it is silent where it has not answered for long."""
        last, at = self._last, self._at
        if not last.trouble and monotonic() - at > SILENT_AFTER:
            return BrokerLook(f"Kafka at {self._settings.kafka.bootstrap} does not answer")
        return last

    def close(self) -> None:
        """Looks no more; does not wait for one that is under way."""
        self._over.set()

    def _run(self) -> None:
        while True:
            self._last, self._at = look(self._settings), monotonic()
            if self._over.wait(LOOK_EVERY):
                return


def _last(settings: WorkerSettings, topic: str, count: int) -> list[Any]:
    """The records among the last `count` offsets of partition 0. Raises Unavailable, AccessDenied."""
    with TopicReader(settings.kafka, topic, (0,)) as reader:
        begin = {number: max(0, range_.end - count) for number, range_ in reader.ranges.items()}
        return [record for part in reader.read(begin) for record in part.records if record.key is not None]


def _described(settings: WorkerSettings, groups: list[str]) -> tuple[GroupLook, ...]:
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(**settings.kafka.kafka_python())
        try:
            found = admin.describe_groups(groups)
        finally:
            admin.close()
    except (KafkaError, OSError) as error:
        raise Unavailable(f"consumer groups at {settings.kafka.bootstrap}: {type(error).__name__}: {error}") from error
    return tuple(GroupLook(name, found[name]["group_state"], len(found[name]["members"])) for name in groups)

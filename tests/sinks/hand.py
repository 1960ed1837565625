"""A publisher and an operator by hand on a real topic: true or lying, committed, aborted or still open."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from simulators import envelope

from stream_app.sinks.hints import Headers, Hints
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Message
from stream_app.versions.model_version import ModelVersion


class Hand:
    """A transactional producer of its own."""

    def __init__(self, broker: str, topic: str) -> None:
        self.topic = topic
        self.producer = KafkaProducer(bootstrap_servers=broker, transactional_id=f"hand-{uuid.uuid4().hex}")
        self.producer.init_transactions()
        self.reader = KafkaConsumer(bootstrap_servers=broker, group_id=None, isolation_level="read_committed")
        self.looked, self.control = 0, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.producer.close(timeout=5)
        self.reader.close()

    def send(self, messages: Iterable[Message], headers: Headers | None = None, end: str = "commit") -> list[int]:
        """One transaction, whose end is "commit", "abort" or "open"; the offsets. headers: of the last message."""
        log = list(messages)
        self.producer.begin_transaction()
        sent = [
            self.producer.send(
                self.topic, value, key, headers=headers or [] if place == len(log) - 1 else [], partition=0
            )
            for place, (key, value) in enumerate(log)
        ]
        offsets = [int(future.get(timeout=10).offset) for future in sent]
        if end != "open":
            {"commit": self.producer.commit_transaction, "abort": self.producer.abort_transaction}[end]()
            self._settle(offsets[-1])
        return offsets

    def publish(self, version: ModelVersion, hints: Headers | None = None, sent: Envelope | None = None) -> list[int]:
        """With true hints, unless others are given: chunks first, then the manifest."""
        *chunks, manifest = version.messages(sent or envelope())
        looked = self.looked
        self.producer.begin_transaction()
        offsets = [self._sent(chunk, []) for chunk in chunks]
        true = Hints(offsets[0], looked, self.control).headers()
        offsets.append(self._sent(manifest, true if hints is None else hints))
        self.producer.commit_transaction()
        self._settle(offsets[-1])
        self.looked = offsets[-1] + 2
        return offsets

    def say(self, message: Message) -> int:
        """A control record, which the publisher knows of from now on."""
        (offset,) = self.send([message])
        self.control, self.looked = offset, offset + 2
        return offset

    def bury(self, version: ModelVersion, what: str = "all of it") -> None:
        """Tombstones for its "manifest", its "chunks" or "all of it"."""
        *chunks, manifest = [key for key, _ in version.messages(envelope())]
        keys = {"manifest": [manifest], "chunks": chunks, "all of it": [manifest, *chunks]}[what]
        self.send((key, None) for key in keys)

    def _settle(self, last: int) -> None:
        """A commit is answered before readers see it: the broker puts its mark behind the records a moment later."""
        place = TopicPartition(self.topic, 0)
        while self.reader.end_offsets([place])[place] < last + 2:
            pass

    def _sent(self, message: Message, headers: Headers) -> int:
        key, value = message
        return int(self.producer.send(self.topic, value, key, headers=headers, partition=0).get(timeout=10).offset)

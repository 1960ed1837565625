"""Versions on a Kafka topic: partition 0 of a compacted topic of one model.

1. A version is one transaction: chunks, then the manifest. Readers are read-committed, so half a version is never seen.
2. The transactional id is one for each model (`kafka.transactional_id`): whoever opens it last is the publisher, the
   broker itself fences the others.
3. At most four chunks are under way, because the client's own buffer has no bound.
4. A publisher that the broker has fenced stops (StopTheLine). After any other trouble the producer is given up, and
   the next `write` opens a new one and looks at the topic first: what was committed although the answer got lost is not
   sent again, and a topic that somebody else has written to in between belongs to that publisher (StopTheLine).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    ProducerFencedError,
)

from stream_app.broker import KafkaSettings, reach
from stream_app.errors import IncompatibleState, SchemaMismatch, StopTheLine, Unavailable
from stream_app.versions.head import Head, head_of
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Key, Message, pack_progress
from stream_app.versions.model_version import ModelVersion

_IN_FLIGHT = 4
_ANSWER_SECONDS = 30.0  # half a transaction's 60 s: we give up before the broker does
_OFFSETS_MS = 8_000
_SILENCE_SECONDS = 10.0
_FETCH_BYTES = 8 << 20  # measured best for 900 KB messages; bounds what the client holds, too
_READ_AHEAD = 16


class KafkaSink:
    """The versions of one model on `topic`.

    Reading and `head` may be done beside `write`; `write` itself by one thread.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, model: str = "default") -> None:
        self.kafka, self.topic, self.model = kafka, topic, model
        self.epoch = 0
        self._producer: Any = None
        self._head: Head | None = None
        self._attempt = Head()

    def open(self) -> Head:
        """Fences the publisher before us, then reads what it left. Raises Unavailable or SettingsError."""
        self.close()
        with self._reaching():
            reach(self.kafka)
            producer = self._new_producer()
            try:
                producer.init_transactions()
                head = self.head()
            except BaseException:
                _given_up(producer)
                raise
        self._producer, self._head, self.epoch = producer, head, head.epoch + 1
        return head

    def write(self, version: ModelVersion, envelope: Envelope) -> None:
        """One transaction; see `VersionSink.write`. While the broker is away it may block up to a minute."""
        head = self._ready()
        if envelope.run == head.run and version.number <= head.version:
            return _same(version, head, self.topic)
        digests = head.digests if envelope.run == head.run else {}
        self._attempt = Head(
            version.number, version.digest, envelope.run, self.epoch, {**digests, version.number: version.digest}
        )
        self._transaction(version.messages(envelope.model_copy(update={"epoch": self.epoch})))
        self._head = self._attempt
        return None

    def announce(self, stage: str) -> None:
        """Tells subscribers what is going on before the first version; see `VersionSink.announce`."""
        self._ready()
        self._transaction(iter([pack_progress(self.model, stage)]))

    def head(self) -> Head:
        """Reads the topic from its beginning; see `VersionSink.head`."""
        manifests: dict[Key, bytes] = {}
        for key, value in self.read():
            with suppress(SchemaMismatch):
                name = Key.parse(key)
                manifests.pop(name, None)
                if name.chunk is None and value is not None:
                    manifests[name] = value
        return head_of(manifests.values(), self.model, f"topic {self.topic}")

    def read(self, after: int = 0) -> Iterator[Message]:
        """Up to what is committed now; see `VersionSink.read`."""
        with self.reader() as reader:
            for key, value in reader.until_end():
                if _number(key) > after:
                    yield key, value

    def reader(self) -> KafkaReader:
        """For a subscriber. Raises Unavailable, also when the topic is not there."""
        return KafkaReader(self.kafka, self.topic)

    def close(self) -> None:
        """Gives the producer up; an open transaction is aborted by the next one to open."""
        producer, self._producer = self._producer, None
        if producer is not None:
            _given_up(producer)

    def _ready(self) -> Head:
        """What is on the topic, with a producer at hand (rule 4). Raises ValueError before the first `open`."""
        last = self._head
        if last is None:
            raise ValueError("open the sink before writing to it")
        if self._producer is not None:
            return last
        now = self.open()
        if (now.version, now.digest) not in {(known.version, known.digest) for known in (last, self._attempt)}:
            self.close()
            self._head = None
            raise StopTheLine(self._taken_over(f"version {now.version} is there, of epoch {now.epoch}"))
        return now

    def _taken_over(self, evidence: str) -> str:
        return (
            f"topic {self.topic}: a newer publisher has taken over ({evidence}); "
            "one trainer may publish a model: this one has stopped"
        )

    def _transaction(self, messages: Iterable[tuple[bytes, bytes]]) -> None:
        producer, begun = self._producer, time.monotonic()
        with self._reaching():
            try:
                producer.begin_transaction()
                under_way: deque[Any] = deque()
                for key, value in messages:
                    if len(under_way) == _IN_FLIGHT:
                        under_way.popleft().get(timeout=_ANSWER_SECONDS)
                    under_way.append(producer.send(self.topic, key=key, value=value, partition=0))
                for future in under_way:
                    future.get(timeout=_ANSWER_SECONDS)
                producer.commit_transaction()
            except (InvalidProducerEpochError, ProducerFencedError) as error:
                self.close()
                if time.monotonic() - begun > _ANSWER_SECONDS:
                    raise  # an outage so long that the broker may have ended the transaction itself
                self._head = None
                raise StopTheLine(self._taken_over("another publisher has opened it")) from error
            except BaseException:
                self.close()
                raise

    def _new_producer(self) -> Any:
        return KafkaProducer(
            **self.kafka.kafka_python(),
            transactional_id=self.kafka.our("transactional_id", self.model),
            acks="all",
            allow_auto_create_topics=False,
            max_block_ms=20_000,
            request_timeout_ms=10_000,
            delivery_timeout_ms=20_000,
            transaction_timeout_ms=60_000,
        )

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        with _reached(self.kafka, self.topic):
            yield


class KafkaReader:
    """Follows the topic from its beginning with a position of its own; no consumer group, nothing is committed."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        """Raises Unavailable when the broker does not answer or the topic is not there."""
        self._kafka, self._topic = kafka, topic
        self._partition, self._heard = TopicPartition(topic, 0), 0.0
        with _reached(kafka, topic):
            reach(kafka)
            self._consumer = KafkaConsumer(
                **kafka.kafka_python(),
                group_id=None,
                isolation_level="read_committed",
                auto_offset_reset="none",
                enable_auto_commit=False,
                allow_auto_create_topics=False,
                fetch_max_bytes=_FETCH_BYTES,
                max_partition_fetch_bytes=_FETCH_BYTES,
                max_poll_records=_READ_AHEAD,
            )
            try:
                if not self._consumer.partitions_for_topic(topic):
                    raise Unavailable(
                        f"Kafka at {kafka.bootstrap} has no topic {topic}; create it (asmg topics create)"
                    )
                self._consumer.assign([self._partition])
                self._rewind()
            except BaseException:
                self._consumer.close()
                raise

    def poll(self, timeout: float) -> Iterator[Message]:
        """See `VersionReader.poll`.

        When the position is gone (retention, a topic made anew): from the beginning again.
        """
        with _reached(self._kafka, self._topic):
            try:
                records = self._consumer.poll(timeout_ms=int(timeout * 1000))
            except (OffsetOutOfRangeError, NoOffsetForPartitionError):
                self._rewind()
                records = {}
            if records:
                self._heard = time.monotonic()
            elif time.monotonic() - self._heard > _SILENCE_SECONDS:
                self._start()
        for record in records.get(self._partition, ()):
            yield record.key, record.value

    def until_end(self) -> Iterator[Message]:
        """Everything that is committed at the time of the call."""
        with _reached(self._kafka, self._topic):
            end = self._consumer.end_offsets([self._partition], timeout_ms=_OFFSETS_MS)[self._partition]
        while self._position() < end:
            yield from self.poll(0.5)

    def _position(self) -> int:
        """Beyond the last record there may be marks of transactions, which only the position tells."""
        with _reached(self._kafka, self._topic):
            return int(self._consumer.position(self._partition, timeout_ms=_OFFSETS_MS))

    def _rewind(self) -> None:
        self._consumer.seek(self._partition, self._start())

    def _start(self) -> int:
        """The first offset there is; asked for also because the client tells nobody that it has lost the broker."""
        offsets = self._consumer.beginning_offsets([self._partition], timeout_ms=_OFFSETS_MS)
        self._heard = time.monotonic()
        return int(offsets[self._partition])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._consumer.close()


@contextmanager
def _reached(kafka: KafkaSettings, topic: str) -> Iterator[None]:
    """Whatever the client reports, the answer is the same: try again later."""
    try:
        yield
    except (KafkaError, OSError) as error:
        raise Unavailable(f"topic {topic} at {kafka.bootstrap}: {type(error).__name__}: {error}") from error


def _given_up(producer: Any) -> None:
    try:
        producer.close(timeout=1)
    except KafkaError:
        # kafka-python 3.0.12 raises here, before it ends its thread, as long as a send has no answer
        producer._sender.force_close()
        with suppress(KafkaError):
            producer.close(timeout=5)


def _number(key: bytes | None) -> int:
    """The version a message belongs to; a message that is no version's counts as newest, so that it is read."""
    try:
        return Key.parse(key).version
    except SchemaMismatch:
        return 2**63


def _same(version: ModelVersion, head: Head, topic: str) -> None:
    """A version that retention has taken from the topic already is not there to be compared."""
    there = head.digests.get(version.number, version.digest)
    if there != version.digest:
        raise IncompatibleState(
            f"topic {topic} has {there} as version {version.number}, the store has {version.digest}: they come from "
            "different data, settings or machines; start over with --new-run, or restore the state directory"
        )

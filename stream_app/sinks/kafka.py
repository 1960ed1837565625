"""Versions on a Kafka topic: partition 0 of a compacted topic of one model.

1. A version is one transaction: chunks, then the manifest. Readers are read-committed, so half a version is never seen.
2. The transactional id is one for each model (`kafka.transactional_id`): whoever opens it last is the publisher, the
   broker itself fences the others. So it is opened only when there is something to send, and only if `permit` allows.
3. At most four chunks are under way, because the client's own buffer has no bound.
4. A publisher that the broker has fenced is over (Fenced) until the next `open`. After any other trouble the producer
   is given up, and the next `write` opens a new one and looks at the topic first: what was committed although the
   answer got lost, or what another publisher has sent meanwhile, is compared and not sent again.
5. Versions that are missing on the topic (it was trimmed, or made anew) are not sent again: the event
   `versions-missing` says so, and the next version goes out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    ProducerFencedError,
)

from stream_app.broker import KafkaSettings, reach
from stream_app.errors import Fenced, SchemaMismatch
from stream_app.sinks.kafka_reader import KafkaReader, reached
from stream_app.telemetry import event
from stream_app.versions.head import Head, head_of
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Key, Message, pack_progress
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.signing import Signer

_IN_FLIGHT = 4
_ANSWER_SECONDS = 30.0  # half a transaction's 60 s: we give up before the broker does


def _always() -> None:
    """Lets every producer be opened; a named function, since sinks are sent to other processes."""


class KafkaSink:
    """The versions of one model on `topic`.

    Reading and `head` may be done beside `write`; `write` itself by one thread. permit: called before a producer is
    opened, which fences the one before; raises Unavailable to put that off. signer: signs what is sent, if given.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        model: str = "default",
        permit: Callable[[], None] = _always,
        signer: Signer | None = None,
    ) -> None:
        self.kafka, self.topic, self.model = kafka, topic, model
        self.epoch = 0
        self._permit, self._signer = permit, signer
        self._producer: Any = None
        self._head: Head | None = None

    def open(self) -> Head:
        """Reads what is there, and fences nobody. Raises Unavailable or SettingsError."""
        self.close()
        self._head = None
        self._head = self.head()
        return self._head

    def write(self, version: ModelVersion, envelope: Envelope) -> None:
        """One transaction; see `VersionSink.write`. While the broker is away it may block up to a minute."""
        place = f"topic {self.topic}"
        if self._known().holds(version, envelope.run, place):
            return
        head = self._publishing()
        if head.holds(version, envelope.run, place):
            return  # sent by the publisher before us, after we looked
        self._tell_missing(head, version.number, envelope.run)
        sent = envelope.model_copy(update={"epoch": self.epoch})
        if self._signer is not None:
            sent = self._signer.signed(version.content_bytes, sent)
        self._transaction(version.messages(sent))
        self._head = head.and_then(version, envelope.run, self.epoch)

    def announce(self, stage: str) -> None:
        """Tells subscribers what is going on before the first version; see `VersionSink.announce`."""
        self._publishing()
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
        with closing(self.reader()) as reader:
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

    def _known(self) -> Head:
        if self._head is None:
            raise ValueError("open the sink before writing to it")
        return self._head

    def _publishing(self) -> Head:
        """What is on the topic, with a producer at hand: nobody else can write there any more (rules 2 and 4)."""
        known = self._known()
        if self._producer is not None:
            return known
        self._permit()
        with reached(self.kafka, self.topic):
            reach(self.kafka)
            producer = self._new_producer()
            try:
                producer.init_transactions()
                head = self.head()
            except BaseException:
                _given_up(producer)
                raise
        # A topic made anew has forgotten our epoch, but subscribers have not.
        self._producer, self._head, self.epoch = producer, head, max(head.epoch, known.epoch, self.epoch) + 1
        return head

    def _tell_missing(self, head: Head, number: int, run: str) -> None:
        after = head.version if run == head.run else 0
        if number > after + 1:
            event(
                "versions-missing",
                "warning",
                topic=self.topic,
                first=after + 1,
                last=number - 1,
                reason="the topic was trimmed or made anew; who subscribes now begins with the next version",
            )

    def _transaction(self, messages: Iterable[tuple[bytes, bytes]]) -> None:
        producer = self._producer
        with reached(self.kafka, self.topic):
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
            except BaseException as error:
                self.close()
                if not _fences(error):
                    raise
                self._head = None
                raise Fenced(f"topic {self.topic}", self.epoch) from error

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


def _fences(error: BaseException) -> bool:
    """A send after the one that was refused is told the reason only in the arguments of its error."""
    return any(isinstance(one, InvalidProducerEpochError | ProducerFencedError) for one in (error, *error.args))


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

"""Versions on a Kafka topic: partition 0 of a compacted topic of one model.

1. A version is one transaction: chunks, then the manifest. Readers are read-committed, so half a version is never seen.
2. The transactional id is one for each model (`kafka.transactional_id`): whoever opens it last is the publisher, the
   broker itself fences the others. So it is opened only when there is something to send, and only if `permit` allows.
3. At most four chunks are under way (`Transaction`).
4. A publisher that the broker has fenced is over (Fenced) until the next `open`. After any other trouble the producer
   is given up, and the next `write` opens a new one and looks at the topic first: what was committed although the
   answer got lost, or what another publisher has sent meanwhile, is compared and not sent again.
5. Versions that are missing on the topic (it was trimmed, or made anew) are not sent again: the event
   `versions-missing` says so, and the next version goes out.
6. After a version is sent, tombstones are sent for what retention does not keep (`Inventory`), in a transaction of
   their own. What is not done then, for whatever reason, is done after the next version, also by another publisher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    InvalidProducerEpochError,
    KafkaError,
    ProducerFencedError,
)

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import reach
from stream_app.errors import Fenced, SchemaMismatch, Unavailable
from stream_app.sinks.hints import Hints, newest
from stream_app.sinks.inventory import Inventory
from stream_app.sinks.kafka_reader import KafkaReader, reached
from stream_app.sinks.publish_settings import PublishSettings
from stream_app.sinks.topic_look import TopicLook
from stream_app.sinks.transaction import Transaction
from stream_app.telemetry import event
from stream_app.versions.head import Head
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Key, Message, pack_progress
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.signing import Signer

_TOMBSTONES = 20_000  # at a time, more than one version takes; a second or two


def _always() -> None:
    """Lets every producer be opened; a named function, since sinks are sent to other processes."""


class KafkaSink:
    """The versions of one model on `topic`.

    Reading and `head` may be done beside `write`; `write` itself by one thread. permit: called before a producer is
    opened, which fences the one before; raises Unavailable to put that off. signer: signs what is sent, if given.
    keep: as `PublishSettings` says.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        model: str = "default",
        permit: Callable[[], None] = _always,
        signer: Signer | None = None,
        keep: int = PublishSettings.keep,
    ) -> None:
        self.kafka, self.topic, self.model = kafka, topic, model
        self.epoch = 0
        self._permit, self._signer, self._keep = permit, signer, keep
        self._producer: Any = None
        self._look = self._begin_to_look()
        self._head: Head | None = None

    def open(self) -> Head:
        """Reads what is there, and fences nobody. Raises Unavailable or SettingsError."""
        self.close()
        self._head, self._look = None, self._begin_to_look()
        self._head = self._looked()
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
        self._send(version, sent)
        self._head = head.and_then(version, envelope.run, self.epoch)
        self._retain(version.number)

    def announce(self, stage: str) -> None:
        """Tells subscribers what is going on before the first version; see `VersionSink.announce`."""
        self._publishing()
        with self._transaction() as transaction:
            transaction.send(*pack_progress(self.model, stage))

    def head(self) -> Head:
        """Reads the topic from its beginning; see `VersionSink.head`."""
        with closing(self._begin_to_look()) as look, reached(self.kafka, self.topic):
            return look.look().head(f"topic {self.topic}")

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
        self._look.close()

    def _begin_to_look(self) -> TopicLook:
        return TopicLook(self.kafka, self.topic, self.model, self._keep)

    def _looked(self, known: Head | None = None) -> Head:
        """The head; `known`, as long as it is the same topic that we look at."""
        before = self._look.inventory
        with reached(self.kafka, self.topic):
            inventory = self._look.look()
            return known if known and inventory is before else inventory.head(f"topic {self.topic}")

    def _known(self) -> Head:
        if self._head is None:
            raise ValueError("open the sink before writing to it")
        return self._head

    def _publishing(self) -> Head:
        """What is on the topic, with a producer at hand: nobody else can write there any more (rules 2 and 4)."""
        known = self._known()
        if self._producer is not None:
            with self._trouble():
                self._head = self._looked(known)
            return self._head
        self._permit()
        with reached(self.kafka, self.topic):
            reach(self.kafka)
            producer = self._new_producer()
            try:
                producer.init_transactions()
                head = self._looked()
                # A topic made anew has forgotten our epoch, but subscribers have not.
                epoch = head.next_epoch(f"topic {self.topic}", max(known.epoch, self.epoch))
            except BaseException:
                _given_up(producer)
                raise
        self._producer, self._head, self.epoch = producer, head, epoch
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

    def _send(self, version: ModelVersion, envelope: Envelope) -> None:
        inventory, looked = self._look.inventory, self._look.position
        with self._transaction() as transaction:
            for key, value in version.messages(envelope):
                hints = None
                if Key.parse(key).chunk is None:
                    hints = Hints(transaction.first(), looked, inventory.control).headers()
                transaction.send(key, value, hints)
        inventory.take(key, value, transaction.offsets[-1])  # the manifest, which says what else was sent

    def _retain(self, sent: int) -> None:
        """Rule 6. The version is on the topic whatever becomes of this, so that only fencing is told."""
        try:
            with self._trouble():
                inventory = self._look.look()
            if keys := inventory.superfluous(_TOMBSTONES, sent):
                self._bury(keys, inventory)
        except Unavailable as error:
            event("retention-waits", "warning", topic=self.topic, reason=str(error))

    def _bury(self, keys: list[bytes], inventory: Inventory) -> None:
        """Not where somebody has written since we looked: that may be a pin of what was to go."""
        hint = newest(inventory.newest)
        with self._trouble():
            transaction = Transaction(self._producer, self.topic)
            transaction.send(keys[0], None, hint)
            if transaction.first() != self._look.position:
                return transaction.abort()
            for key in keys[1:]:
                transaction.send(key, None, hint)
            transaction.commit()
        self._look.wrote(transaction.offsets)
        for key, offset in zip(keys, transaction.offsets, strict=True):
            inventory.take(key, None, offset)
        return None

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        """Committed at the end."""
        with self._trouble():
            transaction = Transaction(self._producer, self.topic)
            yield transaction
            transaction.commit()
        self._look.wrote(transaction.offsets)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Gives the producer up after any (rule 4). Raises Fenced or Unavailable."""
        with reached(self.kafka, self.topic):
            try:
                yield
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

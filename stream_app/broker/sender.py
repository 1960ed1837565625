"""Messages to several topics in one transaction, by the only one that may send them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Self

from kafka import KafkaProducer
from kafka.errors import InvalidProducerEpochError, KafkaError, ProducerFencedError

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import reach
from stream_app.errors import StopTheLine, Unavailable

_ANSWER_SECONDS = 10.0
_LARGEST = 32 << 20  # the topic's own limit decides, not the client's 1 MB


class Message(NamedTuple):
    """What is sent; timestamp_ms: None for the time of sending."""

    topic: str
    partition: int
    value: bytes
    key: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int | None = None


class Sender:
    """A transactional producer: made, it has ended and fenced whoever had the same transactional id."""

    def __init__(self, kafka: KafkaSettings, transactional_id: str) -> None:
        """Raises Unavailable."""
        self._kafka, self._id = kafka, transactional_id
        reach(kafka)
        with self._reaching():
            self._producer = KafkaProducer(
                **kafka.kafka_python(),
                transactional_id=transactional_id,
                acks="all",
                allow_auto_create_topics=False,
                max_request_size=_LARGEST,
                max_block_ms=20_000,
                request_timeout_ms=8_000,
                delivery_timeout_ms=16_000,
                transaction_timeout_ms=20_000,  # for so long at most a killed one holds collectors back
            )
            try:
                self._producer.init_transactions()
            except BaseException:
                self.__exit__()
                raise

    def transaction(self, messages: Sequence[Message]) -> list[int]:
        """All of them are there when it returns, at these offsets; raised, none is or will be seen.

        Raises StopTheLine when another one has been made with our id; Unavailable: whether they are there is known to
        whoever reads the topics next.
        """
        with self._reaching():
            self._producer.begin_transaction()
            sent: list[Any] = [
                self._producer.send(
                    one.topic, one.value, one.key, list(one.headers), one.partition, timestamp_ms=one.timestamp_ms
                )
                for one in messages
            ]
            offsets = [int(future.get(timeout=_ANSWER_SECONDS).offset) for future in sent]
            self._producer.commit_transaction()
        return offsets

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """An open transaction is ended by the broker, or by the next to open."""
        with suppress(KafkaError):
            self._producer.close(timeout=1)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (InvalidProducerEpochError, ProducerFencedError) as error:
            raise StopTheLine(
                f"another process has begun as {self._id}: this one stopped; what it had not sent is left to that one"
            ) from error
        except (KafkaError, OSError) as error:
            raise Unavailable(
                f"Kafka at {self._kafka.bootstrap}: {type(error).__name__}: {error}; try again, nothing is sent twice"
            ) from error

"""A recording into a topic: one message an interaction, keyed by user, as a source system would send them.

1. Kafka's timestamp of a message is the time of sending. Were it the event time, Kafka would delete an old recording
   under its readers, since retention goes by timestamps. Only where records have no time field of their own
   (`time_from = "kafka"`) it must be the event time: give that topic a retention longer than the recording is old.
2. The partition follows from the key alone (Kafka's own hash), so all rows of a user keep their order.
3. A bounded number of messages is under way: the client's own buffer has no bound.
4. Rows that are no valid interactions are not sent, and are counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from models.interactions import Interactions
from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import preflight
from stream_app.broker.rights import Right
from stream_app.errors import Unavailable
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END
from stream_app.formats import recording
from stream_app.formats.encode import Encoder

IN_FLIGHT = 5_000
_ANSWER_SECONDS = 60.0
_BATCH_ROWS = 10_000
_MILLISECOND = 1_000


@dataclass(frozen=True)
class Sent:
    """What was sent: interactions, on how many partitions; bad: rows of the recording that were not."""

    interactions: int
    bad: int
    partitions: int


def produce(
    file: Path,
    kafka: KafkaSettings,
    topic: str,
    records: RecordSettings,
    rate: float | None = None,
    end: bool = False,
    told: Callable[[int], None] = lambda rows: None,
) -> Sent:
    """Send every valid interaction of the recording `file` to `topic`, in its order; returns when Kafka has them all.

    rate: interactions a second at most; end: then a watermark record on each partition says that nothing follows.
    told: called with the number of rows done. Raises BadInput, AccessDenied, and Unavailable when the broker is gone
    too long: sent again from the start, rows would be there twice.
    """
    batches = recording.read(file, records, _BATCH_ROWS)
    preflight(kafka, [topic], [Right("topic", topic, ("Write",), "interactions are sent there")])
    bad = 0
    with _Sender(kafka, topic, records, rate) as sender:
        for decoded in batches:
            bad += len(decoded.bad)
            sender.interactions(decoded.interactions)
            told(sender.sent + bad)
        if end:
            sender.end()
    return Sent(sender.sent, bad, len(sender.partitions))


class _Sender:
    def __init__(self, kafka: KafkaSettings, topic: str, records: RecordSettings, rate: float | None) -> None:
        self._topic, self._rate, self._kafka = topic, rate, kafka
        self._encoder = Encoder(records)
        self._under_way: deque[Any] = deque()
        self._stamped = records.time_from == "kafka"
        self.sent = 0
        try:
            self._producer = KafkaProducer(
                **kafka.kafka_python(), acks="all", linger_ms=20, batch_size=256 * 1024, allow_auto_create_topics=False
            )
            self.partitions: list[int] = sorted(self._producer.partitions_for(topic))
        except KafkaError as error:
            raise self._unavailable(error) from error
        self._began = time.monotonic()

    def __enter__(self) -> _Sender:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._wait_for(0)
        finally:
            # After Ctrl-C or an error nobody waits for what cannot be sent any more.
            self._producer.close(timeout=_ANSWER_SECONDS if kind is None else 1.0)

    def interactions(self, rows: Interactions) -> None:
        categories = [()] * len(rows) if rows.categories is None else rows.categories.tolist()
        columns = (column.tolist() for column in (rows.users, rows.items, rows.times, rows.labels))
        for user, item, event, label, named in zip(*columns, categories, strict=True):
            value = self._encoder.interaction(user, item, event, label, named)
            # A timestamp below 0 means "none" in Kafka.
            stamp = max(event // _MILLISECOND, 0) if self._stamped else None
            self._send(value, str(user).encode(), stamp)
            self.sent += 1
            if self._rate is not None:
                self._pause(self._rate)

    def end(self) -> None:
        self._wait_for(0)
        for partition in self.partitions:
            self._send(self._encoder.watermark(END), None, None, partition)

    def _send(self, value: bytes, key: bytes | None, stamp: int | None, partition: int | None = None) -> None:
        self._wait_for(IN_FLIGHT - 1)
        try:
            self._under_way.append(
                self._producer.send(self._topic, value=value, key=key, partition=partition, timestamp_ms=stamp)
            )
        except KafkaError as error:
            raise self._unavailable(error) from error

    def _wait_for(self, left: int) -> None:
        """Until no more than `left` messages are under way."""
        try:
            while len(self._under_way) > left:
                self._under_way.popleft().get(timeout=_ANSWER_SECONDS)
        except KafkaError as error:
            raise self._unavailable(error) from error

    def _pause(self, rate: float) -> None:
        ahead = self.sent / rate - (time.monotonic() - self._began)
        if ahead > 0:
            time.sleep(ahead)

    def _unavailable(self, error: KafkaError) -> Unavailable:
        return Unavailable(
            f"Kafka at {self._kafka.bootstrap} stopped answering after {self.sent} interactions "
            f"({type(error).__name__}: {error}); sending the recording again would repeat them"
        )

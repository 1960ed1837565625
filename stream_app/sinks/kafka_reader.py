"""The reading end of a models topic: follows it from its beginning, without a consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from stream_app.broker import KafkaSettings, reach
from stream_app.broker.rights import denied_by
from stream_app.errors import Unavailable
from stream_app.versions.messages import Message

_OFFSETS_MS = 8_000
_SILENCE_SECONDS = 10.0
_READ_AHEAD = 16  # chunks of 900 KB


class KafkaReader:
    """Follows the topic from its beginning with a position of its own; no consumer group, nothing is committed."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        """Raises Unavailable when the broker does not answer or the topic is not there."""
        self._kafka, self._topic = kafka, topic
        self._partition, self._heard = TopicPartition(topic, 0), 0.0
        with reached(kafka, topic):
            reach(kafka)
            self._consumer = KafkaConsumer(**kafka.plain_reader(), max_poll_records=_READ_AHEAD)
            try:
                if not self._consumer.partitions_for_topic(topic):
                    raise Unavailable(
                        f"Kafka at {kafka.bootstrap} has no topic {topic}; create it (asmg topics create)"
                    )
                self._consumer.assign([self._partition])
                self._rewind()
                self._at_start = self._end()
            except BaseException:
                self._consumer.close()
                raise

    def poll(self, timeout: float) -> Iterator[Message]:
        """See `VersionReader.poll`.

        When the position is gone (retention, a topic made anew): from the beginning again.
        """
        with reached(self._kafka, self._topic):
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
        with reached(self._kafka, self._topic):
            end = self._end()
        while self._position() < end:
            yield from self.poll(0.5)

    def behind(self) -> int:
        """See `VersionReader.behind`."""
        return max(0, self._at_start - self._position())

    def lag(self) -> int | None:
        """See `VersionReader.lag`; as of the last fetch, marks of transactions included."""
        end = self._consumer.highwater(self._partition)
        return None if end is None else max(0, end - self._position())

    def _end(self) -> int:
        return int(self._consumer.end_offsets([self._partition], timeout_ms=_OFFSETS_MS)[self._partition])

    def _position(self) -> int:
        """Beyond the last record there may be marks of transactions, which only the position tells."""
        with reached(self._kafka, self._topic):
            return int(self._consumer.position(self._partition, timeout_ms=_OFFSETS_MS))

    def _rewind(self) -> None:
        self._consumer.seek(self._partition, self._start())

    def _start(self) -> int:
        """The first offset there is; asked for also because the client tells nobody that it has lost the broker."""
        offsets = self._consumer.beginning_offsets([self._partition], timeout_ms=_OFFSETS_MS)
        self._heard = time.monotonic()
        return int(offsets[self._partition])

    def close(self) -> None:
        """See `VersionReader.close`."""
        self._consumer.close()


@contextmanager
def reached(kafka: KafkaSettings, topic: str) -> Iterator[None]:
    """Whatever the client reports, the answer is the same: try again later; but for a right that is missing."""
    try:
        yield
    except (KafkaError, OSError) as error:
        if denied := denied_by(error, f"topic {topic}"):
            raise denied from error
        raise Unavailable(f"topic {topic} at {kafka.bootstrap}: {type(error).__name__}: {error}") from error

"""The segments topic as a serving process reads it: from a time or an offset on, without a consumer group."""

from __future__ import annotations

import time

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import reach
from stream_app.errors import Unavailable
from stream_app.sinks.kafka_reader import reached

_ANSWER_MS = 8_000
_SILENCE_SECONDS = 10.0
_NEW_TOPIC_MS = 30_000  # so long a topic that was made anew may look like the old one
_READ_AHEAD = 16  # segments of up to 900 KB


class PositionLost(Unavailable):
    """Retention has taken what was to be read next, or the topic was made anew: begin again."""


class SegmentsTopic:
    """Its one partition. begins_late: None, or the first offset there is, when reading began there because what was
    wanted is gone. topic_id: another one once the topic is deleted and made again."""

    def __init__(
        self, kafka: KafkaSettings, topic: str, since_ms: int, at: int | None = None, topic_id: object = None
    ) -> None:
        """since_ms: begin with the first record that the broker has from this time on; at: or at this offset of the
        topic with this id.

        Raises Unavailable when the broker does not answer or the topic is not there, AccessDenied, PositionLost.
        """
        self._kafka, self._topic, self._partition = kafka, topic, TopicPartition(topic, 0)
        self._heard = time.monotonic()
        self.begins_late: int | None = None
        with reached(kafka, topic):
            reach(kafka)
            self._consumer = KafkaConsumer(
                **kafka.plain_reader(), max_poll_records=_READ_AHEAD, metadata_max_age_ms=_NEW_TOPIC_MS
            )
            try:
                if not self._consumer.partitions_for_topic(topic):
                    raise Unavailable(f"Kafka at {kafka.bootstrap} has no topic {topic}; is it the worker's?")
                self._consumer.assign([self._partition])
                self.topic_id, self._end = self._id(), self._ends()
                if at is not None and topic_id != self.topic_id:
                    raise PositionLost(f"topic {topic} was made anew")
                self._consumer.seek(self._partition, self._offset_at(since_ms) if at is None else at)
            except BaseException:
                self._consumer.close()
                raise

    def poll(self, timeout: float) -> list[tuple[int, bytes]]:
        """Offset and value of what follows; waits up to `timeout` seconds. Raises Unavailable, PositionLost."""
        if self._id() != self.topic_id:
            raise PositionLost(f"topic {self._topic} was made anew")
        with reached(self._kafka, self._topic):
            try:
                records = self._consumer.poll(timeout_ms=int(timeout * 1000))
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                raise PositionLost(f"topic {self._topic} no longer holds what was to be read next") from error
            if records:
                self._heard = time.monotonic()
            elif time.monotonic() - self._heard > _SILENCE_SECONDS:
                self._end = self._ends()  # the client tells nobody that it has lost the broker
        found = records.get(self._partition, ())
        return [(record.offset, record.value) for record in found if record.value is not None]

    def lag(self) -> int:
        """Offsets up to the end, as of the last fetch."""
        with reached(self._kafka, self._topic):
            position = int(self._consumer.position(self._partition, timeout_ms=_ANSWER_MS))
        return max(0, max(self._end, self._consumer.highwater(self._partition) or 0) - position)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _offset_at(self, since_ms: int) -> int:
        first = int(self._consumer.beginning_offsets([self._partition], timeout_ms=_ANSWER_MS)[self._partition])
        asked = {self._partition: max(0, since_ms)}
        found = self._consumer.offsets_for_times(asked, timeout_ms=_ANSWER_MS)[self._partition]
        offset = self._end if found is None else int(found.offset)
        self.begins_late = first if offset == first > 0 else None
        return offset

    def _id(self) -> object:
        return self._consumer._cluster.topic_id(self._topic)

    def _ends(self) -> int:
        self._heard = time.monotonic()
        return int(self._consumer.end_offsets([self._partition], timeout_ms=_ANSWER_MS)[self._partition])

"""The reading end of a models topic: from near its end on, without a consumer group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError, NoOffsetForPartitionError, OffsetOutOfRangeError

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import reach
from stream_app.broker.rights import denied_by
from stream_app.errors import Unavailable
from stream_app.sinks.near_end import Beginning, beginning
from stream_app.versions.control import Pin
from stream_app.versions.messages import Message

_OFFSETS_MS = 8_000
_GLANCE_MS = 50  # a poll that meets nothing but marks of transactions lasts so long
_SILENCE_SECONDS = 10.0
_NEW_TOPIC_MS = 30_000  # so long a topic that was made anew may look like the old one
_READ_AHEAD = 16  # chunks of 900 KB


class KafkaReader:
    """Follows the topic with a position of its own; no consumer group, nothing is committed. See `VersionReader`."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        """Raises Unavailable when the broker does not answer or the topic is not there."""
        self._kafka, self._topic = kafka, topic
        self._partition, self._heard = TopicPartition(topic, 0), 0.0
        self.whole, self.newest = False, ""
        self._first: list[Message] = []
        self._ranges = deque[tuple[int, int | None]]()
        self._at_start: int | None = None
        with reached(kafka, topic):
            reach(kafka)
            self._consumer = KafkaConsumer(
                **kafka.plain_reader(), max_poll_records=_READ_AHEAD, metadata_max_age_ms=_NEW_TOPIC_MS
            )
            try:
                if not self._consumer.partitions_for_topic(topic):
                    raise Unavailable(
                        f"Kafka at {kafka.bootstrap} has no topic {topic}; create it (asmg topics create)"
                    )
                self._consumer.assign([self._partition])
                self._topic_id = self.topic_id()
            except BaseException:
                self._consumer.close()
                raise

    def begin(self, pin: Pin | None = None, has: str = "", whole: bool = False) -> None:
        """See `VersionReader.begin`: where the chunks of `pin` lay, then near the end (`near_end.py`)."""
        with reached(self._kafka, self._topic):
            first, end = self.bounds()
            place = Beginning(first) if whole else beginning(self.between, first, end)
            self.whole, self.newest, self._at_start = not place.newest, place.newest, end
            self._first = [] if place.control is None else [place.control]
            self._ranges = deque(place.ranges(wanted=pin is None and place.newest != has))
            if pin is not None and pin.digest != has and not self.whole and first <= pin.first <= pin.last < end:
                self._ranges.appendleft((pin.first, pin.last + 1))
            self._consumer.seek(self._partition, self._ranges[0][0])

    def poll(self, timeout: float) -> Iterator[Message]:
        """See `VersionReader.poll`. Raises Unavailable, too, when the position is gone (retention, a topic made anew):
        whoever reads begins anew then, with another reader."""
        if self._at_start is None:
            self.begin()
        if self.topic_id() != self._topic_id:
            raise self._lost("was made anew")
        first, self._first = self._first, []
        yield from first
        ranges, stop = self._ranges, self._ranges[0][1]
        for record in self._polled(timeout):
            if stop is None or record.offset < stop:
                yield record.key, record.value
        if ranges is self._ranges and stop is not None and self._position() >= stop:
            ranges.popleft()
            self._consumer.seek(self._partition, ranges[0][0])

    def until_end(self) -> Iterator[Message]:
        """Everything that is committed at the time of the call, from the beginning on."""
        self.begin(whole=True)
        while self.behind():
            yield from self.poll(0.5)

    def behind(self) -> int | None:
        """See `VersionReader.behind`."""
        if self._at_start is None:
            return None
        aside = sum(stop - begin for begin, stop in self._ranges if stop is not None)
        last = self._ranges[-1][0] if aside else self._position()
        return len(self._first) + aside + max(0, self._at_start - last)

    def lag(self) -> int | None:
        """See `VersionReader.lag`; as of the last fetch, marks of transactions included."""
        end = self._consumer.highwater(self._partition)
        return None if end is None else max(0, end - self._position())

    def bounds(self) -> tuple[int, int]:
        """Of what is committed now: the first offset there is, and the one behind the last. Raises KafkaError."""
        return self._start(), self._end()

    def between(self, start: int, stop: int) -> Iterator[Any]:
        """Records from one offset up to the other. Raises KafkaTimeoutError when the broker does not give them."""
        self._consumer.seek(self._partition, start)
        passed, heard = start, time.monotonic()
        while (position := self._position()) < stop:
            if position > passed:  # also over what was aborted, a gigabyte perhaps, of which no record comes
                passed, heard = position, time.monotonic()
            elif time.monotonic() - heard > _SILENCE_SECONDS:
                raise KafkaTimeoutError(f"offsets {start} to {stop} do not come")
            for record in self._consumer.poll(timeout_ms=_GLANCE_MS).get(self._partition, ()):
                if record.offset < stop:
                    yield record

    def topic_id(self) -> object:
        """Another one once the topic is deleted and made again: nothing else tells the two apart when it has grown."""
        return self._consumer._cluster.topic_id(self._topic)

    def close(self) -> None:
        """See `VersionReader.close`."""
        self._consumer.close()

    def _polled(self, timeout: float) -> list[Any]:
        with reached(self._kafka, self._topic):
            try:
                records: list[Any] = self._consumer.poll(timeout_ms=int(timeout * 1000)).get(self._partition, [])
            except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
                raise self._lost("no longer has what was to be read next") from error
            if records:
                self._heard = time.monotonic()
            elif time.monotonic() - self._heard > _SILENCE_SECONDS:
                self._start()
        return records

    def _lost(self, what: str) -> Unavailable:
        return Unavailable(f"topic {self._topic} at {self._kafka.bootstrap} {what}; it is read again")

    def _position(self) -> int:
        """Beyond the last record there may be marks of transactions, which only the position tells."""
        with reached(self._kafka, self._topic):
            return int(self._consumer.position(self._partition, timeout_ms=_OFFSETS_MS))

    def _end(self) -> int:
        return int(self._consumer.end_offsets([self._partition], timeout_ms=_OFFSETS_MS)[self._partition])

    def _start(self) -> int:
        """The first offset there is; asked for also because the client tells nobody that it has lost the broker."""
        offsets = self._consumer.beginning_offsets([self._partition], timeout_ms=_OFFSETS_MS)
        self._heard = time.monotonic()
        return int(offsets[self._partition])


@contextmanager
def reached(kafka: KafkaSettings, topic: str) -> Iterator[None]:
    """Whatever the client reports, the answer is the same: try again later; but for a right that is missing."""
    try:
        yield
    except (KafkaError, OSError) as error:
        if denied := denied_by(error, f"topic {topic}"):
            raise denied from error
        raise Unavailable(f"topic {topic} at {kafka.bootstrap}: {type(error).__name__}: {error}") from error

"""What a publisher knows of its topic: everything is read once, then only what others wrote since.

Its own records it knows from the broker's answers, so that a version of 1 GB is not read back to find the one record
that an operator may have written meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from kafka.errors import KafkaTimeoutError

from stream_app.broker import KafkaSettings
from stream_app.sinks.inventory import Inventory
from stream_app.sinks.kafka_reader import KafkaReader

_SHOWN_SECONDS, _GLANCE_SECONDS = 10.0, 0.005


class TopicLook:
    """`inventory` as of the last `look`, which reached up to offset `position`."""

    def __init__(self, kafka: KafkaSettings, topic: str, model: str, keep: int) -> None:
        self._kafka, self._topic, self._model, self._keep = kafka, topic, model, keep
        self._reader: KafkaReader | None = None
        self._topic_id: object = None
        self._ours: list[int] = []
        self._last: set[int] = set()
        self.inventory, self.position = Inventory(model, keep), 0

    def look(self) -> Inventory:
        """Brings the inventory up to what is committed now. Raises Unavailable, AccessDenied or KafkaError.

        A topic that was made anew since, or that lost what we have not read yet, is read from its beginning.
        """
        reader = self._reader = self._reader or KafkaReader(self._kafka, self._topic)
        (start, end), topic_id = self._bounds(reader), reader.topic_id()
        if not start <= self.position <= end or topic_id != self._topic_id:
            self.inventory, self.position, self._topic_id = Inventory(self._model, self._keep), start, topic_id
            self._forget()
        for begin, stop in self._unread(end):
            for record in reader.between(begin, stop):
                self.inventory.take(record.key, record.value, record.offset)
        self.position = end
        self._forget()
        return self.inventory

    def wrote(self, offsets: Sequence[int]) -> None:
        """Where the records of a transaction of our own lie: they are not read, the inventory is told of them."""
        self._ours += offsets
        self._last.add(offsets[-1])

    def close(self) -> None:
        """Hangs up; what is known stays."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _bounds(self, reader: KafkaReader) -> tuple[int, int]:
        """Of what is committed, up to what we have committed ourselves: a moment later the broker shows it, or when an
        older transaction has ended that may bring a pin."""
        deadline = time.monotonic() + _SHOWN_SECONDS
        while True:
            start, end = reader.bounds()
            if not self._ours or end > self._ours[-1] or reader.topic_id() != self._topic_id:
                return start, end
            if time.monotonic() > deadline:
                self._forget()
                raise KafkaTimeoutError(f"what was committed behind offset {end} is not shown yet")
            time.sleep(_GLANCE_SECONDS)

    def _forget(self) -> None:
        self._ours.clear()
        self._last.clear()

    def _unread(self, end: int) -> Iterator[tuple[int, int]]:
        """Ranges of offsets from our position on that are not our own; a single one behind a transaction is its mark,
        which is no record."""
        begin = self.position
        for offset in (*self._ours, end):
            if offset - begin > 1 or (offset > begin and begin - 1 not in self._last):
                yield begin, offset
            begin = offset + 1

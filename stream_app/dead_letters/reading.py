"""The dead-letter topic, read: once to see which letters count, and once more for those that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.broker import KafkaSettings
from stream_app.dead_letters.register import Letters, Register
from stream_app.errors import DamagedLetter
from stream_app.events.dead_letter import REDRIVEN, DeadLetter, Origin, decode
from stream_app.live.cluster.topic_reader import TopicReader

PARTITION = 0
"""Where letters are written."""

Told = Callable[[int], None]


class Refused(NamedTuple):
    """A letter, its offset on the topic, and when it was written: Kafka's timestamp in ms."""

    letter: DeadLetter
    offset: int
    at_ms: int


class Found(NamedTuple):
    """The letters that count, and how many messages are no letters."""

    letters: Letters
    damaged: int


class History(NamedTuple):
    """The latest letter of an origin (None if there is none), how many there are, and whether it was sent again."""

    latest: Refused | None
    letters: int
    closed: bool

    def then(self, found: Refused) -> History:
        """With one letter more."""
        if found.letter.reason == REDRIVEN:
            return self._replace(closed=True)
        return History(found, self.letters + 1, self.closed)


class LetterBox:
    """The dead-letter topic as it is when the box is opened; of memory it needs what `Register` says."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        """Raises Unavailable."""
        self.reader = TopicReader(kafka, topic, (PARTITION,))

    def __enter__(self) -> LetterBox:
        return self

    def __exit__(self, *error: object) -> None:
        self.reader.__exit__(*error)

    @property
    def messages(self) -> int:
        """How many messages there may be."""
        range_ = self.reader.ranges[PARTITION]
        return range_.end - range_.earliest

    def letters(self, since_ms: int | None = None, told: Told = lambda count: None) -> Found:
        """Which letters count; since_ms: only those written since then. told: how many messages were looked at."""
        begin = 0 if since_ms is None else self.reader.offset_since(PARTITION, since_ms)
        register, damaged, earliest = Register(), 0, self.reader.ranges[PARTITION].earliest
        for part in self.reader.read({PARTITION: begin}):
            for record in part.records:
                try:
                    register.add(record.offset, decode(record.key, record.value))
                except DamagedLetter:
                    damaged += 1
            told(part.next_offset - earliest)
        return Found(register.letters(), damaged)

    def read(self, offsets: NDArray[np.int64]) -> Iterator[Refused]:
        """The letters at these offsets of the topic, which rise."""
        if not len(offsets):
            return
        for part in self.reader.read({PARTITION: int(offsets[0])}):
            wanted = set(offsets[slice(*np.searchsorted(offsets, (part.first_offset, part.next_offset)))].tolist())
            for record in part.records:
                if record.offset in wanted:
                    yield Refused(decode(record.key, record.value), record.offset, record.timestamp)
            if part.next_offset > offsets[-1]:
                return

    def history(self, origin: Origin, told: Told = lambda count: None) -> History:
        """All that the topic says of one origin."""
        found, key, earliest = History(None, 0, False), str(origin).encode(), self.reader.ranges[PARTITION].earliest
        for part in self.reader.read():
            for record in part.records:
                if record.key == key:
                    with suppress(DamagedLetter):
                        found = found.then(Refused(decode(record.key, record.value), record.offset, record.timestamp))
            told(part.next_offset - earliest)
        return found

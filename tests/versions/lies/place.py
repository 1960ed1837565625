"""A place for versions in memory that says when a subscriber has taken everything, and that lies by itself.

It forgets what compaction forgets (all but the last message of a key, and what has a tombstone), and it can break down
under its readers.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from simulators import MemoryReader, MemorySink

from stream_app.errors import Unavailable
from stream_app.subscriber import SubscriberSettings
from stream_app.versions.messages import Message

PATIENCE = 60.0
"""Seconds after which a subscriber that has not taken everything counts as hung."""
HOLE = (b"hole", None)
"""Where compaction has taken a message."""


class Place(MemorySink):
    """`log` as ever; readers wait for what comes instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()
        self.all_taken = False
        self.breaks: list[type[Exception]] = []

    def add(self, messages: Iterable[Message]) -> None:
        """Puts messages at the end of the log."""
        with self.changed:
            self.log += messages
            self.all_taken = False
            self.changed.notify_all()

    def settle(self) -> None:
        """Returns once a reader has come back for more than there is. Raises TimeoutError when it does not."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.all_taken, PATIENCE):
                raise TimeoutError("the subscriber hangs")

    def compact(self) -> None:
        """What a broker's compaction may do at any time, but for the log's last message."""
        with self.changed:
            last = {key: at for at, (key, _) in enumerate(self.log)}
            for at, (key, value) in enumerate(self.log[:-1]):
                if last[key] != at or value is None:
                    self.log[at] = HOLE

    def break_down(self, error: type[Exception]) -> None:
        """The next poll of a reader ends with this error, after half of its messages."""
        with self.changed:
            self.breaks.append(error)
            self.all_taken = False
            self.changed.notify_all()

    def reader(self) -> PlaceReader:
        return PlaceReader(self)


class PlaceReader(MemoryReader):
    """Position in the log."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._place = place

    def poll(self, timeout: float) -> Iterator[Message]:
        place = self._place
        with place.changed:
            if self._position == len(place.log) and not place.breaks:
                place.all_taken = True
                place.changed.notify_all()
                place.changed.wait_for(lambda: self._position < len(place.log) or place.breaks, timeout)
            begin, self._position = self._position, len(place.log)
            messages = [message for message in place.log[begin : self._position] if message is not HOLE]
            error = place.breaks.pop() if place.breaks else None
        if error is None:
            yield from messages
            return
        yield from messages[: len(messages) // 2]
        raise error("torn away")


@dataclass(frozen=True)
class PlaceSettings(SubscriberSettings):
    """Settings whose place is in memory."""

    place: Place = field(default_factory=Place)

    def source(self) -> Place:  # type: ignore[override]
        return self.place


BREAKS = (Unavailable, RuntimeError)

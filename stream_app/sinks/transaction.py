"""A transaction of kafka-python, with a bound on what is under way: the client's own buffer has none."""

from __future__ import annotations

from collections import deque
from typing import Any

from stream_app.sinks.hints import Headers
from stream_app.versions.tensors import CHUNK_BYTES

_UNDER_WAY = 4 * CHUNK_BYTES
_ANSWER_SECONDS = 30.0  # half a transaction's 60 s: we give up before the broker does


class Transaction:
    """Records that are seen together or not at all. Raises what the client raises; then it is to be given up."""

    def __init__(self, producer: Any, topic: str) -> None:
        """Begins it. producer: initialised, with no other transaction open."""
        self._producer, self._topic = producer, topic
        self._waiting, self._bytes = deque[tuple[Any, int]](), 0
        self.offsets = list[int]()
        """Where the broker has put the records, in order; of all of them after `commit`."""
        producer.begin_transaction()

    def send(self, key: bytes, value: bytes | None, headers: Headers | None = None) -> None:
        """To partition 0; waits for the answers to earlier ones while more than four chunks are under way."""
        size = len(key) + len(value or b"")
        while self._waiting and self._bytes + size > _UNDER_WAY:
            self._answered()
        future = self._producer.send(self._topic, key=key, value=value, headers=headers or [], partition=0)
        self._waiting.append((future, size))
        self._bytes += size

    def first(self) -> int:
        """The offset of the first record sent, once the broker has said it."""
        while not self.offsets:
            self._answered()
        return self.offsets[0]

    def commit(self) -> None:
        """Returns when the broker has everything, and readers see it."""
        while self._waiting:
            self._answered()
        self._producer.commit_transaction()

    def abort(self) -> None:
        """Returns when the broker knows that nobody is to see any of it."""
        self._producer.abort_transaction()

    def _answered(self) -> None:
        future, size = self._waiting.popleft()
        self._bytes -= size
        self.offsets.append(int(future.get(timeout=_ANSWER_SECONDS).offset))

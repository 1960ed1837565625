"""Says that messages are refused: a worker that refuses all of them would look healthy otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from stream_app.events.record import BadRow
from stream_app.telemetry import event

EVERY = 5.0
"""Seconds in which it is said once."""


class Refusals:
    """Counts what is refused; the first is told at once, what follows within EVERY seconds is in the next count."""

    def __init__(self) -> None:
        self._untold = 0
        self._not_before = 0.0

    def tell(self, topic: str, partition: int, bad: Sequence[BadRow]) -> None:
        """After a batch of this partition: `bad` (one or more) went to the dead letters. Shows the first as example."""
        self._untold += len(bad)
        now = monotonic()
        if now < self._not_before:
            return
        first = bad[0]
        event(
            "dead-letters",
            "warning",
            topic=topic,
            partition=partition,
            count=self._untold,
            reason=first.reason,
            field=first.field or None,
            offset=first.offset,
        )
        self._untold, self._not_before = 0, now + EVERY

"""When a partition has been quiet for so long that it is idle. Pure: every time is passed in.

A partition is idle only when the broker says, again and again, that it ends where we are. Whatever is not such an
answer starts the clock anew: rows, an open transaction, another assignment, an error, or silence for too long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable


class IdleClock:
    """Of all partitions of one collector. after: seconds of quiet; silence: longest time between two answers."""

    def __init__(self, after: float, silence: float) -> None:
        self._after, self._silence = after, silence
        self._since: dict[int, float] = {}
        self._told: set[int] = set()
        self._heard: float | None = None

    def start_anew(self) -> None:
        """There was no answer, or the partitions are not the same ones."""
        self._since.clear()
        self._told.clear()
        self._heard = None

    def moved(self, partitions: Iterable[int]) -> None:
        """Something came into these partitions."""
        for partition in partitions:
            self._since.pop(partition, None)
            self._told.discard(partition)

    def answered(self, asked: float, heard: float, at_end: Collection[int], others: Collection[int]) -> list[int]:
        """The broker said of all partitions whether they end where we are. Returns those that are idle since, once.

        asked, heard: when the question was sent and its answer came, in seconds of the same clock.
        """
        if self._heard is not None and asked - self._heard > self._silence:
            self.start_anew()
        self._heard = heard
        self.moved(others)
        for partition in at_end:
            self._since.setdefault(partition, heard)
        idle = [n for n in at_end if asked - self._since[n] >= self._after and n not in self._told]
        self._told.update(idle)
        return idle

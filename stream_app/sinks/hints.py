"""Hints: places in the log of a models topic, in Kafka's record headers, so that a reader can begin near the end.

| header | on | says |
|---|---|---|
| `asmg-first` | manifests | offset of the version's first chunk |
| `asmg-looked` | manifests | the publisher knew every control record below this offset |
| `asmg-control` | manifests | offset of the newest of them; not there when there was none |
| `asmg-newest` | tombstones | offset of the newest manifest: they may be many behind it |

An offset is decimal ASCII. Hints are about this log alone: no version has them in its bytes, no signature covers them,
and what is read from where they point is judged like everything else. A reader that finds nothing there reads all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

FIRST, LOOKED, CONTROL, NEWEST = "asmg-first", "asmg-looked", "asmg-control", "asmg-newest"
Headers = list[tuple[str, bytes]]


class Hints(NamedTuple):
    """What the headers of one manifest say."""

    first: int
    looked: int
    control: int | None = None

    def headers(self) -> Headers:
        """For the manifest's record."""
        named = {FIRST: self.first, LOOKED: self.looked, CONTROL: self.control}
        return [(name, b"%d" % offset) for name, offset in named.items() if offset is not None]

    @staticmethod
    def of(headers: Iterable[tuple[str, bytes]], offset: int) -> Hints | None:
        """Those of the manifest at `offset`; None where there are none, or where they cannot be true."""
        named = dict(headers)
        first, looked, control = (offset_in(named.get(name)) for name in (FIRST, LOOKED, CONTROL))
        if first is None or looked is None or first > offset or looked > offset:
            return None
        if CONTROL in named and (control is None or control >= looked):
            return None
        return Hints(first, looked, control)

    @property
    def start(self) -> int:
        """From here on is everything that the version and what came after it needs."""
        return min(self.first, self.looked)


def newest(offset: int) -> Headers:
    """For a tombstone; `offset` is that of the newest manifest."""
    return [(NEWEST, b"%d" % offset)]


def offset_in(text: bytes | None) -> int | None:
    """The offset that a header's value is; None for anything else."""
    return int(text) if text is not None and text.isdigit() and len(text) < 20 else None

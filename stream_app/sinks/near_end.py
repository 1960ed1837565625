"""Where a reader of a models topic begins: near the end, so that a start costs one version and not all that are kept.

1. The newest manifest is looked for backwards, in windows that grow: few records lie behind it, or tombstones that say
   where it is.
2. Its hints say from where on everything is that it needs, and where the control record lies that was the newest then.
   Every later one comes by itself.
3. What hints point to must be there. Where they are missing, cannot be true or point to something else, everything is
   read from the beginning: slower, and right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from stream_app.errors import SchemaMismatch, VersionRejected
from stream_app.sinks.hints import NEWEST, Hints, offset_in
from stream_app.versions.messages import CONTROL_KEY, Key, Manifest, Message

_FIRST_WINDOW = 4  # a manifest, the mark of its transaction, and a control record with its own
_GROWTH = 4


class Record(Protocol):
    """As the client gives them."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


Between = Callable[[int, int], Iterable[Record]]
"""What is committed from the first offset up to the second."""


class Beginning(NamedTuple):
    """Read from offset `start` on, after `control`, if there is one. newest: digest of the newest version; "" where
    everything is read. chunks: from the first of these offsets up to the second lie its chunks, and nothing else."""

    start: int
    control: Message | None = None
    newest: str = ""
    chunks: tuple[int, int] | None = None

    def ranges(self, wanted: bool = True) -> list[tuple[int, int | None]]:
        """Of offsets to be read, one after the other, the last one open; wanted: whether that version is."""
        if wanted or self.chunks is None:
            return [(self.start, None)]
        begin, stop = self.chunks
        return [(stop, None)] if self.start == begin else [(self.start, begin), (stop, None)]


def beginning(between: Between, first: int, end: int) -> Beginning:
    """For a log whose records have offsets from `first` on, below `end`."""
    everything = Beginning(first)
    found = _newest_manifest(between, first, end)
    hints = None if found is None else Hints.of(found.headers or (), found.offset)
    if found is None or hints is None or hints.start < first:
        return everything
    try:
        manifest = Manifest.unpack(found.value or b"")
    except VersionRejected:
        return everything
    control = None
    if hints.control is not None:
        there = _at(between, hints.control) if hints.control >= first else None
        if there is None or there.key != CONTROL_KEY or there.value is None:
            return everything
        control = (there.key, there.value)
    # Where they fill all offsets up to the manifest, no operator has written in between.
    alone = found.offset - hints.first == len(manifest.content.chunks)
    return Beginning(hints.start, control, manifest.digest, (hints.first, found.offset) if alone else None)


def manifests(between: Between, first: int, end: int) -> Iterator[Record]:
    """The manifests in such a log, the newest first; of other records few are asked for, where there are hints."""
    while (found := _newest_manifest(between, first, end)) is not None:
        yield found
        hints = Hints.of(found.headers or (), found.offset)
        end = found.offset if hints is None else hints.first


def _newest_manifest(between: Between, first: int, end: int) -> Record | None:
    stop, size = end, _FIRST_WINDOW
    while stop > first:
        start = max(first, stop - size)
        manifest = named = None
        for record in between(start, stop):
            if _is_manifest(record):
                manifest = record
            told = offset_in(dict(record.headers or ()).get(NEWEST))
            named = named if told is None else told
        if manifest is None and named is not None and first <= named < end:
            there = _at(between, named)
            manifest = there if there is not None and _is_manifest(there) else None
        if manifest is not None:
            return manifest
        stop, size = start, _GROWTH * size
    return None


def _at(between: Between, offset: int) -> Record | None:
    """None when compaction has taken it, or when it is none that is read (a transaction's mark)."""
    return next(iter(between(offset, offset + 1)), None)


def _is_manifest(record: Record) -> bool:
    try:
        return record.value is not None and Key.parse(record.key).chunk is None
    except SchemaMismatch:
        return False

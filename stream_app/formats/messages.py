"""Messages to interactions: a whole fetch at a time, each message on its own.

Rules:
1. Decoding many messages gives what decoding them one by one gives.
2. Whatever bytes arrive, nothing is raised: a message is an interaction (or several), a watermark record, a tombstone,
   one that is skipped, or a bad row.
3. A bad row says why, in one of the codes of `events.record.REASONS`.
4. What `records.where` does not list is skipped, whatever else is wrong with its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, get_args

import msgspec
import numpy as np

from models.own import said
from stream_app.errors import Unavailable
from stream_app.events.field_path import header
from stream_app.events.record import RecordSettings
from stream_app.formats import AnyMessageFormat
from stream_app.formats.assembly import Assembly
from stream_app.formats.decoded import Decoded
from stream_app.formats.event_time import LIMIT
from stream_app.formats.fetch import Fetch, Headers
from stream_app.formats.heads import Heads
from stream_app.formats.limits import Limits
from stream_app.formats.opening import opener
from stream_app.formats.refusal import Refusal
from stream_app.formats.row import leaves, struct, tree_of
from stream_app.formats.verdicts import ERRORS, Verdicts


class Decode(Protocol):
    """Messages of one partition to what they are.

    values, offsets, timestamps_ms and headers have equal length; a value of None is a tombstone; a timestamp below 0
    means that there is none, and then there is nothing to judge clock skew by; headers may be left out where the
    settings read none (`RecordSettings.reads_headers`).
    """

    def __call__(
        self,
        values: Sequence[bytes | None],
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers] | None = None,
    ) -> Decoded:
        """Raises Unavailable when `records.decoder` does."""
        ...


def message_format(name: str) -> AnyMessageFormat:
    """The format that `records.format` names. Raises ValueError for an unknown one."""
    for kind in get_args(AnyMessageFormat):
        known: AnyMessageFormat = kind()
        if known.format == name:
            return known
    raise ValueError(f"unknown message format {name!r}")


def decoder(settings: RecordSettings) -> Decode:
    """A function from messages to what they are. Raises ValueError where `records.decoder` names none."""
    return _Decoder(settings).decode


Failed = list[tuple[int, Any, Exception | Refusal]]
"""(place, body, why) of messages that are no rows."""


@dataclass(frozen=True)
class _Messages:
    """Some messages of a fetch: their places in it, and what they are to be read from."""

    places: Sequence[int]
    bodies: Sequence[Any]

    def only(self, numbers: Sequence[int]) -> _Messages:
        return _Messages([self.places[number] for number in numbers], [self.bodies[number] for number in numbers])


class _Decoder:
    def __init__(self, settings: RecordSettings) -> None:
        every = leaves(settings)
        tree = tree_of({path: leaf for path, leaf in every.items() if header(path) is None})
        in_headers = {path: leaf for path, leaf in every.items() if header(path) is not None}
        written, kind = message_format(settings.format), struct(tree)
        self._open = opener(settings.decoder) if settings.decoder else None
        self._row: Callable[[Any], Any] = written.decoder(kind)
        content: Callable[[Any], Any] = written.decoder(object)
        if self._open is not None:
            self._row, content = partial(msgspec.convert, type=kind), lambda mapping: mapping
        self._limits = Limits(written, tree, settings.max_bytes)
        self._heads = Heads(settings, in_headers) if in_headers else None
        self._verdicts = Verdicts(settings, content, None if self._open else self._limits, self._heads)
        self._assembly = Assembly(settings, every, tree, self._heads)

    def decode(
        self,
        values: Sequence[bytes | None],
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        headers: Sequence[Headers] | None = None,
    ) -> Decoded:
        at = np.asarray(offsets, dtype=np.int64)
        clock = np.clip(np.asarray(timestamps_ms, dtype=np.int64), -1, LIMIT // 1000) * 1000
        fetch = Fetch(values, at, clock, headers or [()] * len(values) if self._heads else ())
        messages = _Messages(range(len(values)), values)
        if None in values:
            messages = messages.only([place for place, value in enumerate(values) if value is not None])
        tombstones = len(values) - len(messages.places)
        if self._open is not None:
            messages = self._opened(fetch, messages)
        interactions, found = self._assembly.of(fetch, *self._rows(fetch, messages))
        bad = tuple(sorted(fetch.bad, key=lambda row: row.offset))
        return Decoded(interactions, found, tuple(sorted(fetch.marks)), bad, tombstones, fetch.filtered)

    def _opened(self, fetch: Fetch, messages: _Messages) -> _Messages:
        """The mappings that `records.decoder` makes of them."""
        assert self._open is not None
        kept: list[int] = []
        mappings: list[Any] = []
        for place, value in zip(messages.places, messages.bodies, strict=True):
            if refused := self._limits.size(value):
                fetch.refuse(place, refused)
                continue
            try:
                mapping = self._open(value)
            except Unavailable:
                raise
            except Exception as error:  # somebody else's code, fed with whatever arrives
                fetch.refuse(place, Refusal("undecodable", text=said(error)))
                continue
            if mapping is None:
                fetch.filtered += 1
            else:
                kept.append(place)
                mappings.append(mapping)
        return _Messages(kept, mappings)

    def _rows(self, fetch: Fetch, messages: _Messages) -> tuple[Sequence[int], Sequence[Any], Sequence[Any]]:
        """(places, rows, what their headers say) of those that are rows; what the others are is settled."""
        failed: Failed = []
        try:
            rows = list(map(self._row, messages.bodies))
        except ERRORS:
            messages, rows = _each(messages, self._row, failed)
        if self._open is None and not self._limits.proven(messages.bodies, rows):
            judged = [self._limits.refusal(body) for body in messages.bodies]
            for place, refused in zip(messages.places, judged, strict=True):
                if refused:
                    fetch.refuse(place, refused)
            kept = [number for number, refused in enumerate(judged) if not refused]
            messages, rows = messages.only(kept), [rows[number] for number in kept]
        heads: list[Any] = []
        if self._heads is not None:
            messages, rows, heads = _with_heads(fetch, messages, rows, self._heads, failed)
        for place, body, why in failed:
            self._verdicts.settle(fetch, place, body, why)
        return messages.places, rows, heads


def _each(messages: _Messages, read: Callable[[Any], Any], failed: Failed) -> tuple[_Messages, list[Any]]:
    """Those that can be read, and their rows; the others are put to what `failed`."""
    kept: list[int] = []
    rows: list[Any] = []
    for number, body in enumerate(messages.bodies):
        try:
            rows.append(read(body))
            kept.append(number)
        except ERRORS as error:
            failed.append((messages.places[number], body, error))
    return messages.only(kept), rows


def _with_heads(
    fetch: Fetch, messages: _Messages, rows: list[Any], heads: Heads, failed: Failed
) -> tuple[_Messages, list[Any], list[Any]]:
    """Those whose headers can be read as well, with what they say."""
    said = [heads.row(fetch.headers[place]) for place in messages.places]
    kept = [number for number, head in enumerate(said) if not isinstance(head, Refusal)]
    failed += [
        (messages.places[number], messages.bodies[number], head)
        for number, head in enumerate(said)
        if isinstance(head, Refusal)
    ]
    return messages.only(kept), [rows[number] for number in kept], [said[number] for number in kept]

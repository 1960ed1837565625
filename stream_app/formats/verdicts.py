"""What a message is that is no row: a watermark record, one that is skipped, or a bad one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stream_app.events.field_path import steps
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END
from stream_app.formats.conditions import conditions
from stream_app.formats.event_time import microseconds
from stream_app.formats.fetch import Fetch
from stream_app.formats.heads import Heads
from stream_app.formats.limits import Limits
from stream_app.formats.refusal import Refusal, refusal
from stream_app.formats.row import time_kind

ERRORS = (ValueError, TypeError, RecursionError)
"""What decoding raises, whatever the bytes."""


class Verdicts:
    """Decides by the settings.

    content: the body of a message as plain values; limits: those of messages in a format, None for bodies that
    `records.decoder` made.
    """

    def __init__(
        self, settings: RecordSettings, content: Callable[[Any], Any], limits: Limits | None, heads: Heads | None
    ) -> None:
        self._content, self._limits, self._heads = content, limits, heads
        self._where = conditions(settings.where)
        self._unit = settings.time_unit
        self._watermark = msgspec.defstruct("Watermark", [("watermark", time_kind(settings.time_unit))])
        self._skew = round(settings.max_clock_skew * 1_000_000)
        self._listed, self._batched = ".".join(steps(settings.categories)), settings.batched

    def settle(self, fetch: Fetch, place: int, body: Any, why: Exception | Refusal) -> None:
        """The message at this place could not be made a row: `why`."""
        if self._limits is not None and (beyond := self._limits.refusal(body)):
            fetch.refuse(place, beyond)
            return
        refused = why if isinstance(why, Refusal) else refusal(why, self._listed, self._batched)
        try:
            content = self._content(body)
        except ERRORS as error:
            unread = refusal(error)
            fetch.refuse(place, refused if unread.reason == "undecodable" else unread)
            return
        if isinstance(content, Mapping) and list(content) == ["watermark"]:
            self._mark(fetch, place, content)
        elif isinstance(content, Mapping) and not self._is_meant(content, fetch, place):
            fetch.filtered += 1
        else:
            fetch.refuse(place, refused)

    def _mark(self, fetch: Fetch, place: int, content: Mapping[str, Any]) -> None:
        at, clock = int(fetch.at[place]), int(fetch.clock[place])
        if content["watermark"] == "end":
            fetch.marks.append((at, END))
            return
        try:
            found: Any = msgspec.convert(content, self._watermark)
        except ERRORS as error:
            fetch.refuse(place, refusal(error))
            return
        time = int(microseconds([found.watermark], self._unit)[0])
        if clock >= 0 and time > clock + self._skew:
            fetch.refuse(place, Refusal("clock-skew", "watermark"))
        else:
            fetch.marks.append((at, time))

    def _is_meant(self, content: Mapping[str, Any], fetch: Fetch, place: int) -> bool:
        texts = self._heads.texts(fetch.headers[place]) if self._heads else {}
        return all(condition.met_within(content, texts) for condition in self._where)

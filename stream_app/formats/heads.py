"""Fields that lie in the headers of messages: text in UTF-8, read as what the field needs.

A header that is read may be there once only. A number is written in digits, with a point or an exponent if it is none
of the integers; a time as `records.time_unit` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from stream_app.events.field_path import header
from stream_app.events.record import RecordSettings
from stream_app.formats.event_time import ISO
from stream_app.formats.fetch import Headers
from stream_app.formats.refusal import Refusal, refusal
from stream_app.formats.row import Leaf, Read, reads, struct, tree_of

_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?", re.ASCII)


class Heads:
    """Reads the fields of `leaves`, path -> leaf, all of them headers."""

    def __init__(self, settings: RecordSettings, leaves: Mapping[str, Leaf]) -> None:
        tree = tree_of(leaves)
        self.reads: dict[str, Read] = dict(reads(tree))
        self._names = {header(path): path for path in leaves}
        self._row = partial(msgspec.convert, type=struct(tree))
        numbers = {"label", "rating"}
        numbers |= {part for part, kind in (("user", settings.user_ids), ("item", settings.item_ids)) if kind == "int"}
        numbers |= set() if settings.time_unit == ISO else {"time"}
        self._numbers = {path for path, leaf in leaves.items() if leaf.name in numbers}

    def row(self, headers: Headers) -> Any | Refusal:
        """The fields of one message, or why it is refused."""
        found: dict[str, Any] = {}
        for name, raw in headers:
            path = self._names.get(name)
            if path is None or raw is None:
                continue
            if path in found:
                return Refusal("duplicate-key", path)
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                return Refusal("wrong-encoding", path)
            found[path] = _number(text) if path in self._numbers else text
        try:
            return self._row(found)
        except msgspec.ValidationError as error:
            return refusal(error)

    def texts(self, headers: Headers) -> dict[str, str]:
        """Path -> what the header says, of one message."""
        return {
            path: raw.decode(errors="replace")
            for name, raw in headers
            if raw is not None and (path := self._names.get(name)) is not None
        }


def _number(text: str) -> int | float | str:
    """The text itself where it is no number: then its type is wrong."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text

"""What the program says about itself: one line per event on stderr, and the clock that others are passed.

    2026-01-05T09:12:44.031Z info trainer period-trained period=12 rows=10000 version=3 seconds=1.94

Rules:
1. An event is one line, whatever its values hold: text that could break the line, or pass for another field, is quoted.
2. Levels: error: a person must act; warning: it helps itself, but look; info: the way of an interaction; debug: rest.
3. Libraries speak through the same lines, from warning on: their routine is not ours.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Literal

Level = Literal["debug", "info", "warning", "error"]
Value = str | int | float | bool | None

_BARE = re.compile(r"[\w./:,@+-]+")
_LOGGER = "asmg"
_FIELDS = "asmg_fields"


@dataclass(frozen=True)
class TelemetrySettings:
    """How much is said, and how: `text` for people, `json` (one object a line) for a log collector."""

    level: Level = "info"
    format: Literal["text", "json"] = "text"


def wall_clock() -> float:
    """Seconds since 1970: the one clock of this program outside `live`; pass it on instead of calling it deep down."""
    return time.time()


def utc(seconds: float) -> str:
    """A reading of the clock as text, to the millisecond: 2026-01-05T09:12:44.031Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure(settings: TelemetrySettings, process: str, stream: IO[str] | None = None) -> None:
    """Call once at the start of a process; `process` names it in every line. Calling again replaces what was set."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(process) if settings.format == "text" else _Objects(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_LOGGER).setLevel(settings.level.upper())


def event(name: str, level: Level = "info", **fields: Value) -> None:
    """Say that something happened; fields in the order in which they are given, None ones left out."""
    logging.getLogger(_LOGGER).log(logging.getLevelName(level.upper()), name, extra={_FIELDS: fields})


class _Lines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        head = f"{utc(record.created)} {record.levelname.lower()} {self._process}"
        pairs = (f"{key}={_text(value)}" for key, value in _fields(record, self).items())
        return " ".join([head, _quoted(record.getMessage()), *pairs])


class _Objects(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        said = {"time": utc(record.created), "level": record.levelname.lower(), "process": self._process}
        return json.dumps(said | {"event": record.getMessage()} | _fields(record, self), ensure_ascii=True)


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Value]:
    given: dict[str, Value] = getattr(record, _FIELDS, {})
    fields: dict[str, Value] = {key: value for key, value in given.items() if value is not None}
    if record.name != _LOGGER:
        fields["logger"] = record.name
    if record.exc_info:
        fields["trace"] = formatter.formatException(record.exc_info)
    return fields


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else _quoted(str(value))


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=True)

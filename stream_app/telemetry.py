"""What the program says about itself: one line per event on stderr, and the clock that others are passed.

    2026-01-05T09:12:44.031Z info trainer period-trained period=12 rows=10000 version=3 seconds=1.94

Rules:
1. An event is one line, whatever its values hold: text that could break the line, or pass for another field, is quoted.
2. Levels: error: a person must act; warning: it helps itself, but look; info: the way of an interaction; debug: rest.
3. Where lines are JSON objects, all are: also what a child says without us, and the last words of a process.
4. Libraries speak through the same lines, from warning on: their routine is not ours.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, Literal

Level = Literal["debug", "info", "warning", "error"]
Value = str | int | float | bool | None

_BARE = re.compile(r"[\w./:,@+-]+")
_LOGGER = "asmg"
_FIELDS = "asmg_fields"
_ENDED, _HEAD = "ended", "asmg: "
_CHATTY = "kafka.net.selector"
"""It warns whenever a step of its own takes 0.1 s, and on a machine at work each TLS handshake and look-up does."""


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


def listed(numbers: Iterable[int]) -> str:
    """Different numbers as the value of a field: "0,1,3"."""
    return ",".join(str(number) for number in sorted(set(numbers)))


def configure(settings: TelemetrySettings, process: str, stream: IO[str] | None = None) -> None:
    """Call once at the start of a process; `process` names it in every line. Calling again replaces what was set."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines(process) if settings.format == "text" else _Objects(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_CHATTY).setLevel(logging.ERROR)
    logging.getLogger(_LOGGER).setLevel(settings.level.upper())


def last_words(text: str) -> None:
    """Says why this process ends: its last line."""
    if _objects():
        event(_ENDED, "error", reason=text)
    else:
        print(f"{_HEAD}{text}", file=sys.stderr)


def last_words_in(line: str) -> str:
    """What `last_words` of another process said in this line of it; any other line as it is."""
    said = _object(line)
    return str(said.get("reason", "")) if said.get("event") == _ENDED else line.removeprefix(_HEAD)


def relay(process: str, line: str) -> None:
    """Passes on a line that another process of ours has said; what is no object is put into one where logs are."""
    if not _objects():
        print(f"{process}: {line}", file=sys.stderr, flush=True)
    elif _object(line):
        print(line, file=sys.stderr, flush=True)
    elif line:
        event("said", "warning", child=process, line=line)


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


def _objects() -> bool:
    return any(isinstance(handler.formatter, _Objects) for handler in logging.getLogger().handlers)


def _object(line: str) -> dict[str, Any]:
    """The object that a line is; empty for any other line."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _fields(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Value]:
    given: dict[str, Value] = getattr(record, _FIELDS, {})
    fields: dict[str, Value] = {key: _plain(value) for key, value in given.items() if value is not None}
    if record.name != _LOGGER:
        fields["logger"] = record.name
    if record.exc_info:
        fields["trace"] = formatter.formatException(record.exc_info)
    return fields


def _plain(value: Value) -> Value:
    """JSON has no word for what is not finite."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else _quoted(str(value))


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=True)

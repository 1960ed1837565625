"""Dead letters: what was refused on its way into a period, why, and where it lies.

1. A letter is keyed by its origin. It is written at least once: under one key the latest counts.
2. It holds the original's bytes up to `KEPT_BYTES`, and of all of them the size and the SHA-256; its key and its
   headers up to `HEADER_BYTES`. Whoever needs more fetches the original from its origin.
3. Under the reason `REDRIVEN` it says that the original was sent again: the letter before it is closed.
4. Whatever lies on the topic, decoding ends with a letter or with `DamagedLetter`, and uses no more memory than
   `MESSAGE_BYTES` allow.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgpack

from stream_app.errors import DamagedLetter

FORMAT = 1
KEPT_BYTES = 65_536
"""Most bytes of an original that its letter carries."""
HEADER_BYTES = 8_192
"""Most bytes of key and headers, names and values, that a letter carries: leading ones, each whole."""
MESSAGE_BYTES = 128 * 1024
"""A letter is smaller than this."""
LATE, REDRIVEN = "late", "redriven"

_TEXT = 500
_KEYS = frozenset({"format", "reason", "field", "text", "origin", "value", "size", "sha256", "key", "headers", "more"})
_ORIGIN = frozenset({"topic", "partition", "offset", "row", "timestamp"})
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WRITTEN = re.compile(r"(?P<topic>[^/]+)/(?P<partition>\d{1,10})/(?P<offset>\d{1,19})(?:/(?P<row>\d{1,19}))?")

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, order=True)
class Origin:
    """Where an original lies. row: which row of the message, where a letter stands for one of several; else None."""

    topic: str
    partition: int
    offset: int
    row: int | None = None

    def __str__(self) -> str:
        """topic/partition/offset, and /row where there is one."""
        place = f"{self.topic}/{self.partition}/{self.offset}"
        return place if self.row is None else f"{place}/{self.row}"

    @staticmethod
    def parse(text: str) -> Origin:
        """The origin that is written so. Raises ValueError."""
        found = _WRITTEN.fullmatch(text)
        if found is None or not _NAME.fullmatch(found["topic"]):
            raise ValueError(f"{text!r} is no origin: topic/partition/offset")
        row = found["row"]
        return Origin(found["topic"], int(found["partition"]), int(found["offset"]), None if row is None else int(row))


@dataclass(frozen=True)
class DeadLetter:
    """A refused original.

    reason: a short stable code; field: of the message, "" if none; text: the same for people; timestamp_ms: Kafka's, of
    the original, below 0 if none; value: its bytes, at most KEPT_BYTES of them, None for one that has none; size,
    sha256 (hex): of all its bytes; record_key: the original's key; headers: the leading ones; more: whether there was
    more of these two.
    """

    reason: str
    field: str
    text: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None
    size: int
    sha256: str
    record_key: bytes | None = None
    headers: Headers = ()
    more: bool = False
    row: int | None = None

    @staticmethod
    def of(
        origin: Origin,
        timestamp_ms: int,
        value: bytes | None,
        reason: str,
        field: str = "",
        headers: Iterable[tuple[str, bytes | None]] = (),
        text: str = "",
        record_key: bytes | None = None,
    ) -> DeadLetter:
        """The letter for a whole original; what is too long for one is cut."""
        whole, given = value or b"", (("", record_key), *headers)
        kept = tuple(_leading(given))
        return DeadLetter(
            reason,
            _writable(field),
            _writable(text or (f"{field}: {reason}" if field else reason)),
            origin.topic,
            origin.partition,
            origin.offset,
            timestamp_ms,
            None if value is None else value[:KEPT_BYTES],
            len(whole),
            hashlib.sha256(whole).hexdigest(),
            record_key if kept else None,
            kept[1:],
            len(kept) < len(given),
            origin.row,
        )

    @property
    def origin(self) -> Origin:
        """Where the original lies."""
        return Origin(self.topic, self.partition, self.offset, self.row)

    @property
    def key(self) -> bytes:
        """The key of its message."""
        return str(self.origin).encode()

    @property
    def cut(self) -> bool:
        """Whether the original is larger than what the letter holds of it."""
        return self.more or len(self.value or b"") < self.size

    def closed(self) -> DeadLetter:
        """The letter that says, under the same key, that the original was sent again."""
        text = f"sent again; was {self.reason}"
        return replace(self, reason=REDRIVEN, field="", text=text[:_TEXT], value=None, record_key=None, headers=())

    def encode(self) -> bytes:
        """The message for the dead-letter topic."""
        origin = {"topic": self.topic, "partition": self.partition, "offset": self.offset, "row": self.row}
        packed: bytes = msgpack.packb(
            {
                "format": FORMAT,
                "reason": self.reason,
                "field": self.field,
                "text": self.text,
                "origin": {**origin, "timestamp": self.timestamp_ms},
                "value": self.value,
                "size": self.size,
                "sha256": self.sha256,
                "key": self.record_key,
                "headers": self.headers,
                "more": self.more,
            }
        )
        return packed


def decode(key: bytes | None, message: bytes | None) -> DeadLetter:
    """The letter in a message of the dead-letter topic.

    Raises DamagedLetter for anything that `encode` does not write, and for a key that is not its own.
    """
    if message is None or len(message) > MESSAGE_BYTES:
        raise DamagedLetter(
            "it is empty" if message is None else f"its {len(message)} bytes are more than a letter has"
        )
    try:
        packed = msgpack.unpackb(message)
        letter = _decoded(packed)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, msgpack.UnpackException) as error:
        raise DamagedLetter(str(error) or type(error).__name__) from error
    if key != letter.key:
        raise DamagedLetter(f"its key is {(key or b'')[:100]!r}, but it says that it comes from {letter.origin}")
    return letter


def _decoded(packed: Mapping[str, Any]) -> DeadLetter:
    if packed.get("format") != FORMAT:
        raise ValueError(f"format {packed.get('format')!r:.100}, this program reads {FORMAT}")
    origin = packed["origin"]
    if packed.keys() != _KEYS or origin.keys() != _ORIGIN:
        raise ValueError("it has other fields than a letter")
    letter = DeadLetter(
        reason=_checked(packed["reason"], str, len(packed["reason"]) <= _TEXT, "reason"),
        field=_checked(packed["field"], str, len(packed["field"]) <= _TEXT, "field"),
        text=_checked(packed["text"], str, len(packed["text"]) <= _TEXT, "text"),
        topic=_checked(origin["topic"], str, bool(_NAME.fullmatch(origin["topic"])), "topic"),
        partition=_checked(origin["partition"], int, 0 <= origin["partition"] < 2**31, "partition"),
        offset=_checked(origin["offset"], int, 0 <= origin["offset"] < 2**63, "offset"),
        timestamp_ms=_checked(origin["timestamp"], int, -(2**63) <= origin["timestamp"] < 2**63, "timestamp"),
        value=_bytes(packed["value"], "value"),
        size=_checked(packed["size"], int, 0 <= packed["size"] < 2**63, "size"),
        sha256=_checked(packed["sha256"], str, bool(_DIGEST.fullmatch(packed["sha256"])), "sha256"),
        record_key=_bytes(packed["key"], "key"),
        headers=tuple(_header(pair) for pair in _checked(packed["headers"], list, True, "headers")),
        more=_checked(packed["more"], bool, True, "more"),
        row=None if origin["row"] is None else _checked(origin["row"], int, 0 <= origin["row"] < 2**63, "row"),
    )
    if letter.value is not None:
        _check_value(letter.value, letter.size, letter.sha256)
    return letter


def _check_value(value: bytes, size: int, sha256: str) -> None:
    """Raises ValueError when the kept bytes are not those that size and digest speak of."""
    if len(value) != min(size, KEPT_BYTES):
        raise ValueError(f"it holds {len(value)} bytes of {size}")
    if len(value) == size and hashlib.sha256(value).hexdigest() != sha256:
        raise ValueError("its value does not have the SHA-256 that it names")


def _checked(value: Any, kind: type, within: bool, name: str) -> Any:
    if type(value) is not kind or not within:
        raise ValueError(f"its {name} is {value!r:.100}")
    return value


def _bytes(value: Any, name: str) -> bytes | None:
    return None if value is None else bytes(_checked(value, bytes, True, name))


def _header(pair: Any) -> tuple[str, bytes | None]:
    name, value = pair
    return _checked(name, str, True, "header"), _bytes(value, "header")


def _writable(text: str) -> str:
    """As much of a text as a letter has room for; it may quote what arrived, and so hold what UTF-8 cannot."""
    return text[:_TEXT].encode(errors="backslashreplace").decode()[:_TEXT]


def _leading(headers: Headers) -> Iterator[tuple[str, bytes | None]]:
    left = HEADER_BYTES
    for name, value in headers:
        left -= len(name.encode(errors="replace")) + len(value or b"") + 16
        if left < 0:
            return
        yield name, value

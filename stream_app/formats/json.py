"""Messages as JSON maps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.formats.pairs import Pairs

T = TypeVar("T")

_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_PLAIN = re.compile(r"[ !#-.0-\[\]-~]+")  # without what has an escape of its own


@dataclass(frozen=True)
class Json:
    """One JSON object a message, UTF-8 without a byte order mark, nothing but white space after it."""

    format: Literal["json"] = "json"
    bytes_a_level: ClassVar[int] = 2
    """Fewest bytes that a map or list within another takes."""

    def decoder(self, kind: type[T]) -> Callable[[bytes], T]:
        """A function from one message to a `kind`; raises ValueError, TypeError or RecursionError for anything else."""
        return msgspec.json.Decoder(kind).decode

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The message with these fields, in this order. NaN and infinity do not exist in JSON: they become null."""
        return msgspec.json.encode(dict(fields))

    def openings(self, array: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which bytes may open a map or a list: those in text look the same."""
        opening: NDArray[np.bool_] = (array | 0x20) == ord("{")  # [ is { without that bit
        return opening

    def is_text(self, value: bytes) -> bool:
        """Whether one or more messages are UTF-8; JSON in wider characters has zero bytes."""
        if b"\0" in value:
            return False
        try:
            return value.isascii() or bool(value.decode())
        except UnicodeDecodeError:
            return False

    def spellings(self, key: str) -> tuple[bytes, ...]:
        """How a key stands in a message, unless it is `respelled`."""
        return (msgspec.json.encode(key),)

    def respelled(self, value: bytes, keys: tuple[str, ...]) -> bool:
        """Whether one of the keys may stand in a message, or several, in other letters than `spellings` says."""
        if b"\\" not in value:
            return False
        plain = all(_PLAIN.fullmatch(key) for key in keys)
        return not plain or (b"\\u00" in value and _ESCAPED_ASCII.search(value) is not None)

    def pairs(self, value: bytes) -> Any:
        """The message with every map as `Pairs`. Raises ValueError or RecursionError."""
        return json.loads(value, object_pairs_hook=Pairs)

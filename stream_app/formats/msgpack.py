"""Messages as msgpack maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import msgpack
import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.formats.pairs import Pairs

T = TypeVar("T")

_SHORT = 4


@dataclass(frozen=True)
class Msgpack:
    """One msgpack map a message; string keys, nothing after it."""

    format: Literal["msgpack"] = "msgpack"
    bytes_a_level: ClassVar[int] = 1
    """Fewest bytes that a map or list within another takes."""

    def decoder(self, kind: type[T]) -> Callable[[bytes], T]:
        """A function from one message to a `kind`; raises ValueError, TypeError or RecursionError for anything else."""
        return msgspec.msgpack.Decoder(kind).decode

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The message with these fields, in this order."""
        return msgspec.msgpack.encode(dict(fields))

    def openings(self, array: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which bytes may be the header of a map or a list: those of numbers and text may look the same."""
        opening: NDArray[np.bool_] = ((array & 0xE0) == 0x80) | ((array & 0xFC) == 0xDC)
        return opening

    def is_text(self, value: bytes) -> bool:
        """Whatever is read as text is looked at when it is read."""
        return True

    def spellings(self, key: str) -> tuple[bytes, ...]:
        """How a key stands in a message; a short one with each header it may have, else it would be found often."""
        text = key.encode()
        if len(text) >= _SHORT:
            return (text,)
        size = len(text)
        return tuple(header + text for header in (bytes([0xA0 + size]), *_long_headers(size)))

    def respelled(self, value: bytes, keys: tuple[str, ...]) -> bool:
        """There are no other spellings."""
        return False

    def pairs(self, value: bytes) -> Any:
        """The message with every map as `Pairs`. Raises ValueError."""
        return msgpack.unpackb(value, object_pairs_hook=Pairs, strict_map_key=False, unicode_errors="replace")


def _long_headers(size: int) -> tuple[bytes, ...]:
    return b"\xd9" + size.to_bytes(1, "big"), b"\xda" + size.to_bytes(2, "big"), b"\xdb" + size.to_bytes(4, "big")

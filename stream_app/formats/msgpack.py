"""Messages as msgpack maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")


@dataclass(frozen=True)
class Msgpack:
    """One msgpack map a message; string keys, nothing after it."""

    format: Literal["msgpack"] = "msgpack"

    def decoder(self, kind: type[T]) -> Callable[[bytes], T]:
        """A function from one message to a `kind`; raises ValueError, TypeError or RecursionError for anything else."""
        return msgspec.msgpack.Decoder(kind).decode

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The message with these fields, in this order."""
        return msgspec.msgpack.encode(dict(fields))

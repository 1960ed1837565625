"""Messages as JSON maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")


@dataclass(frozen=True)
class Json:
    """One JSON object a message, UTF-8 without a byte order mark, nothing but white space after it."""

    format: Literal["json"] = "json"

    def decoder(self, kind: type[T]) -> Callable[[bytes], T]:
        """A function from one message to a `kind`; raises ValueError, TypeError or RecursionError for anything else."""
        return msgspec.json.Decoder(kind).decode

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The message with these fields, in this order. NaN and infinity do not exist in JSON: they become null."""
        return msgspec.json.encode(dict(fields))

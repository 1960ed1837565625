"""What a message on the interactions topic looks like, and what becomes of one that looks otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ids = Literal["int", "string"]

MICROSECONDS = 1_000_000
"""Event times are int64 microseconds since the epoch everywhere behind the decoders."""


@dataclass(frozen=True)
class RecordSettings:
    """How one message becomes one interaction; nothing is guessed. Fields are named as the producer names them."""

    format: Literal["msgpack", "json"] = "msgpack"
    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    time_from: Literal["field", "field-or-kafka", "kafka"] = "field"
    """kafka: the message's own timestamp; field-or-kafka: that one where the field is missing."""
    label: str = "label"
    """Field that holds 1 (positive) or 0 (negative); "": every interaction is positive."""
    rating: str = ""
    """Field that holds a rating; when named, an interaction is positive from `rating_threshold` on."""
    rating_threshold: float = 0.0
    categories: str = ""
    """Field that holds the item's categories, a string or a list of them; "": none. The base model ignores them yet."""
    user_ids: Ids = "int"
    item_ids: Ids = "int"
    max_clock_skew: float = 86_400.0
    """Seconds that an event time may lie after the message's Kafka timestamp before the record counts as bad."""

    def __post_init__(self) -> None:
        for name in ("user", "item"):
            if not getattr(self, name):
                raise ValueError(f"{name}: must name the field that holds the {name} id")
        if not self.time and self.time_from != "kafka":
            raise ValueError('time: must name the field that holds the event time, or set time_from = "kafka"')
        if not self.max_clock_skew >= 0:
            raise ValueError(f"max_clock_skew: must be 0 or more seconds, is {self.max_clock_skew}")
        if self.rating_threshold != self.rating_threshold:
            raise ValueError("rating_threshold: must be a number, is not a number (NaN)")


@dataclass(frozen=True)
class BadRow:
    """A message that is no valid interaction: where it was, why it was refused, in which field, and its bytes."""

    offset: int
    reason: str
    field: str
    value: bytes | None
    """The message as it came; None for a tombstone."""

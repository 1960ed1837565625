"""What a message on the interactions topic looks like, and what becomes of one that looks otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stream_app.events import field_path

Ids = Literal["int", "string"]
Value = str | bool | int | float
"""What a field may be compared with."""
Values = Mapping[str, tuple[Value, ...]]
"""Path of a field -> the values that are meant."""

MICROSECONDS = 1_000_000
"""Event times are int64 microseconds since the epoch everywhere behind the decoders."""

REASONS = (
    "empty",
    "too-large",
    "wrong-encoding",
    "too-deep",
    "undecodable",
    "duplicate-key",
    "not-a-map",
    "missing-field",
    "wrong-type",
    "out-of-range",
    "clock-skew",
    "late",
)
"""Why something is no interaction of the period it came for: the codes of dead letters. They stay as they are."""

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class RecordSettings:
    """How one message becomes one interaction; nothing is guessed. Fields are named as the producer names them.

    A field may lie anywhere in a message or in its headers: see `field_path`.
    """

    format: Literal["msgpack", "json"] = "msgpack"
    decoder: str = ""
    """"package.module:function" in place of a format: a message's bytes -> a mapping, or None to skip the message."""
    batched: bool = False
    """Each field holds a list, one element an interaction, all of one length: columns."""
    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    time_unit: Literal["s", "ms", "us", "ns", "iso8601"] = "s"
    time_from: Literal["field", "field-or-kafka", "kafka"] = "field"
    """kafka: the message's own timestamp; field-or-kafka: that one where the field is missing."""
    label: str = "label"
    """Field that holds 1 (positive) or 0 (negative); "": every interaction is positive."""
    rating: str = ""
    """Field that holds a rating; when named, an interaction is positive from `rating_threshold` on."""
    rating_threshold: float = 0.0
    positive_when: Values = field(default_factory=dict)
    """When given, an interaction is positive where each of these fields has one of its values."""
    where: Values = field(default_factory=dict)
    """Messages in which one of these fields has none of its values, or is missing, are no interactions: skipped."""
    categories: str = ""
    """Field that holds the item's categories, a string or a list of them; "": none. Embedding & MLP uses them."""
    user_ids: Ids = "int"
    item_ids: Ids = "int"
    max_clock_skew: float = 86_400.0
    """Seconds that an event time may lie after the message's Kafka timestamp before the record counts as bad."""
    max_bytes: int = 1_000_000
    """Largest message that is looked at."""

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
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes: must be 1 or more, is {self.max_bytes}")
        if self.decoder and not _FUNCTION.fullmatch(self.decoder):
            raise ValueError(f'decoder: {self.decoder!r} is no "package.module:function"')
        self._check_labels()
        self._check_fields()

    def fields(self) -> dict[str, str]:
        """Part of an interaction -> the path of its field, for those that are read from a message."""
        found = {"user": self.user, "item": self.item}
        if self.time_from != "kafka":
            found["time"] = self.time
        if self.rating:
            found["rating"] = self.rating
        elif self.label and not self.positive_when:
            found["label"] = self.label
        if self.categories:
            found["categories"] = self.categories
        return found

    def conditions(self) -> list[tuple[str, str]]:
        """(setting, path) of the fields that are compared with values."""
        both = (("where", self.where), ("positive_when", self.positive_when))
        return [(name, path) for name, values in both for path in values]

    def reads_headers(self) -> bool:
        """Whether anything lies in the headers of messages."""
        paths = [*self.fields().values(), *(path for _, path in self.conditions())]
        return any(field_path.header(path) for path in paths)

    def _check_labels(self) -> None:
        own = self.label if self.label != RecordSettings.label else ""  # the default gives way
        given = [name for name, value in (("label", own), ("rating", self.rating)) if value]
        if self.positive_when and given:
            raise ValueError(f"positive_when: cannot be set together with {given[0]}: both say what is positive")
        if len(given) > 1:
            raise ValueError("rating: cannot be set together with label: both say what is positive")
        for name, values in (("where", self.where), ("positive_when", self.positive_when)):
            for path, listed in values.items():
                if not listed:
                    raise ValueError(f"{name}: lists no value for {path!r}")

    def _check_fields(self) -> None:
        field_path.check(self.fields().items(), self.conditions())
        if self.batched and field_path.header(self.user) and field_path.header(self.item):
            raise ValueError("batched: needs the users or the items in the message, both are headers")


@dataclass(frozen=True)
class BadRow:
    """A message that is no valid interaction: where it was, why it was refused, in which field, and its bytes.

    reason: one of REASONS. field: its path as the settings have it; of a batched message with the row, "item_id[17]".
    """

    offset: int
    reason: str
    field: str
    value: bytes | None
    """The message as it came; None for a tombstone."""
    text: str = ""
    """More for people to read than reason and field say, "" where there is nothing."""

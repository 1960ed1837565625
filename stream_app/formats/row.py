"""The shape of one message: a msgspec struct made from the record settings, with every limit in its types.

A message that decodes into the struct is valid but for what types cannot say (label 0 or 1, clock skew, UTF-8 length
of a string); what fails to decode says why. Measured: limits in the types cost 0.03 us a message, and decoding one
message at a time is as fast as joining them, which would let a broken one shift its neighbours.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from stream_app.events.record import RecordSettings
from stream_app.formats.categories import CATEGORIES, CATEGORY_BYTES
from stream_app.formats.event_time import largest

ID_BYTES = 1024
"""Longest string id, in UTF-8 bytes."""

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, Meta(min_length=1, max_length=ID_BYTES)]
Label = Annotated[float, Meta(ge=0, le=1)]
Category = Annotated[str, Meta(min_length=1, max_length=CATEGORY_BYTES)]
Categories = Annotated[tuple[Category, ...], Meta(max_length=CATEGORIES)]
Rating = Annotated[float, Meta(ge=-3.4e38, le=3.4e38)]


def row_type(settings: RecordSettings) -> type[Any]:
    """A struct with `user`, `item` and, where the settings ask for them, `time`, `rating` or `label`, `categories`."""
    ids = {"int": Int64, "string": Text}
    fields: list[Any] = [("user", ids[settings.user_ids]), ("item", ids[settings.item_ids])]
    names = {"user": settings.user, "item": settings.item}
    if settings.time_from != "kafka":
        time = _time(settings.time_unit)
        fields.append(("time", time) if settings.time_from == "field" else ("time", time | None, None))
        names["time"] = settings.time
    if settings.rating:
        fields.append(("rating", Rating))
        names["rating"] = settings.rating
    elif settings.label:
        fields.append(("label", Label))
        names["label"] = settings.label
    if settings.categories:
        fields.append(("categories", Category | Categories | None, None))
        names["categories"] = settings.categories
    fields.sort(key=len)  # fields with a default come last
    return msgspec.defstruct("Row", fields, rename=names, frozen=True, gc=False)


def watermark_type(settings: RecordSettings) -> type[Any]:
    """A struct for `{"watermark": t}`, t in the unit of the event times or "end"; no other field is allowed in it."""
    field: Any = ("watermark", _time(settings.time_unit) | Literal["end"])
    return msgspec.defstruct("Watermark", [field], forbid_unknown_fields=True, frozen=True, gc=False)


def _time(unit: str) -> Any:
    limit = largest(unit)
    return Annotated[int, Meta(ge=-limit, le=limit)] | Annotated[float, Meta(ge=-float(limit), le=float(limit))]


_FIELD = re.compile(r"`\$\.(.+)`$")
_MISSING = re.compile(r"missing required field `(.+)`$")


def refusal(error: Exception, listed: str = "") -> tuple[str, str]:
    """(reason, field) of what a decoder of these types raised; the field as it is called in messages, or "".

    listed: the field that may hold a list; what is wrong within the list is wrong with the field.
    """
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return "undecodable", ""
    if missing := _MISSING.search(text):
        return "missing-field", missing[1]
    named = _FIELD.search(text)
    if named is None:
        return ("not-a-map", "") if text.startswith("Expected `object`") else ("wrong-type", "")
    field = listed if listed and named[1].startswith(f"{listed}[") else named[1]
    return ("wrong-type" if ", got" in text else "out-of-range"), field

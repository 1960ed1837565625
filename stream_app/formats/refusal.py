"""Why a message is no interaction, in a short stable code and the path of a field, from what its decoder raised."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from models.own import said


class Refusal(NamedTuple):
    """reason: one of `events.record.REASONS`; field: as messages have it, "" for none; text: more for people."""

    reason: str
    field: str = ""
    text: str = ""


_PLACE = re.compile(r" - at `(?:key` in `)?\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.+?)`")


def refusal(error: Exception, listed: str = "", batched: bool = False) -> Refusal:
    """From what a decoder of the types of `row` raised.

    listed: the field that may hold a list of categories; what is wrong within the list is wrong with the field.
    batched: whether fields hold lists, so that only what is inside of one element is wrong with the element.
    """
    if isinstance(error, RecursionError):
        return Refusal("too-deep")
    if isinstance(error, UnicodeDecodeError):
        return Refusal("wrong-encoding")
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Refusal("undecodable", "", said(error))
    found = _PLACE.search(text)
    place = found[1] if found else ""
    if missing := _MISSING.search(text):
        return Refusal("missing-field", f"{place}.{missing[1]}" if place else missing[1])
    if not place:
        return Refusal("not-a-map" if text.startswith("Expected `object`") else "wrong-type", "", _expected(text))
    if listed and place.startswith(f"{listed}["):
        place = re.sub(r"(\[\d+\])\[\d+\]$", r"\1", place) if batched else listed
    if "timezone" in text:
        return Refusal("wrong-type", place, f"{place}: has no zone: write Z or an offset such as +01:00 after the time")
    if "RFC3339" in text:
        return Refusal("wrong-type", place, f"{place}: is no time of ISO 8601, such as 2026-01-31T12:00:00.5Z")
    return Refusal("wrong-type" if ", got" in text else "out-of-range", place, f"{place}: {_expected(text)}")


def _expected(text: str) -> str:
    """What a decoder says that it expected, without the place: "expected int, got str"."""
    return text.partition(" - at ")[0].replace("`", "").replace("Expected", "expected", 1)


def row_of(field: str, row: int) -> str:
    """The field of a batched message in which that row is wrong."""
    return f"{field}[{row}]"

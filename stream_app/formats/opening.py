"""A company's own format: `records.decoder` names a function from a message's bytes to a mapping.

The function is called once a message. It returns a mapping of plain values, whose fields are then read and checked as
those of any message; or None for a message that is to be skipped. What it raises makes the message a dead letter;
but `stream_app.errors.Unavailable` (what it needs cannot be reached now) ends the stage, to be tried again: the
messages of an outage are not bad ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.own import named

Open = Callable[[bytes], Mapping[str, Any] | None]


def opener(name: str) -> Open:
    """The function that "package.module:function" names. Raises ValueError, beginning with "decoder:"."""
    try:
        found = named(name)
    except ValueError as error:
        raise ValueError(f"decoder: {error}") from error
    if not callable(found) or isinstance(found, type):
        raise ValueError(f"decoder: {name} is no function")
    chosen: Open = found
    return chosen

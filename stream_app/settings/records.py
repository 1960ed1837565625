"""The section `[records]` as people write it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from stream_app.events.record import RecordSettings
from stream_app.formats.opening import opener


def _records(value: Any) -> Any:
    """One value in place of a list, and tables within tables in place of dotted paths; the default label gives way."""
    if not isinstance(value, dict):
        return value
    compared = {name: _compared(name, value[name]) for name in ("where", "positive_when") if name in value}
    for name in ("rating", "positive_when"):
        if value.get(name) and value.get("label"):
            raise ValueError(f"{name}: cannot be set together with label: both say what is positive")
    label = {"label": ""} if value.get("rating") or value.get("positive_when") else {}
    return {**label, **value, **compared}


def _compared(setting: str, value: Any, above: str = "") -> Any:
    if not isinstance(value, dict):
        return value
    found: dict[str, list[Any]] = {}
    for key, given in value.items():
        path = f"{above}{key}"
        if isinstance(given, dict):
            found |= _compared(setting, given, f"{path}.")
            continue
        listed = given if isinstance(given, list | tuple) else [given]
        if not all(isinstance(one, str | bool | int | float) for one in listed):
            raise ValueError(f"{setting}: {path!r} must list text, numbers, true or false, not {given!r}")
        found[path] = list(listed)
    return found


def _with_its_decoder(records: RecordSettings) -> RecordSettings:
    """Raises ValueError when the function cannot be had."""
    if records.decoder:
        opener(records.decoder)
    return records


Records = Annotated[RecordSettings, BeforeValidator(_records), AfterValidator(_with_its_decoder)]
"""Record settings, in a settings class."""

"""The settings of the processes that take interactions in: everything but the learning, and without its packages.

Torch takes seconds to load and hundreds of megabytes; a collector has no use for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from stream_app.events.periods import AnyPeriods, EqualCount
from stream_app.events.record import RecordSettings
from stream_app.formats.opening import opener
from stream_app.live.trimming import WindowSettings
from stream_app.live.worker_settings import WorkerSettings
from stream_app.settings.durations import seconds
from stream_app.settings.serving import ServingSettings
from stream_app.settings.sources import Values

DEFAULT_COUNT = 10_000
LEARNING_KEYS = ("preset", "learning")
"""Settings that only the trainer can judge; whoever starts a worker has had them judged before."""


def _periods(value: Any) -> Any:
    """`by` follows from what else is given, and durations may be written as text ("1h")."""
    if not isinstance(value, dict):
        return value
    value = {key: seconds(v) if key in ("length", "lateness") else v for key, v in value.items()}
    kind = value.setdefault("by", "time" if "length" in value else "count")
    return {"count": DEFAULT_COUNT, **value} if kind == "count" else value


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


class IngestSettings(ServingSettings):
    """What `collect` and `window` need. Made by `load`."""

    state_directory: Path = Path("asmg-state")
    collectors: Annotated[int, Field(ge=1)] = 1
    records: Annotated[RecordSettings, BeforeValidator(_records), AfterValidator(_with_its_decoder)] = Field(
        default_factory=RecordSettings
    )
    periods: Annotated[AnyPeriods, Field(discriminator="by"), BeforeValidator(_periods)] = Field(
        default_factory=lambda: EqualCount(count=DEFAULT_COUNT)
    )

    window: WindowSettings = Field(default_factory=WindowSettings)

    @classmethod
    def unjudged(cls, values: Values) -> Values:
        """`values` of a source without those of the learning."""
        return {key: value for key, value in values.items() if key not in LEARNING_KEYS}

    def worker(self) -> WorkerSettings:
        """The sections of the worker; that of the learning is left out."""
        return WorkerSettings(
            model=self.model,
            state_directory=self.state_directory,
            kafka=self.kafka,
            topics=self.topics,
            records=self.records,
            periods=self.periods,
            window=self.window,
            collectors=self.collectors,
        )

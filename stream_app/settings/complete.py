"""All settings of asmg-stream. Importing this needs the worker's packages."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from models.learning import LearningSettings, paper
from stream_app.events.periods import AnyPeriods, EqualCount
from stream_app.events.record import RecordSettings
from stream_app.live.worker_settings import WorkerSettings
from stream_app.replay import ReplaySettings
from stream_app.settings.durations import seconds
from stream_app.settings.serving import ServingSettings
from stream_app.settings.sources import LayerSource, Values

DEFAULT_COUNT = 10_000


def _periods(value: Any) -> Any:
    """`by` follows from what else is given, and durations may be written as text ("1h")."""
    if not isinstance(value, dict):
        return value
    value = {key: seconds(v) if key in ("length", "lateness") else v for key, v in value.items()}
    kind = value.setdefault("by", "time" if "length" in value else "count")
    return {"count": DEFAULT_COUNT, **value} if kind == "count" else value


def _learning(value: Any) -> Any:
    """A method may be given by its name alone, and several as "iu,asmg"."""
    if not isinstance(value, dict) or "methods" not in value:
        return value
    methods = value["methods"]
    named = [name.strip() for name in methods.split(",")] if isinstance(methods, str) else methods
    if not isinstance(named, list | tuple):
        return value
    return value | {"methods": [{"method": method} if isinstance(method, str) else method for method in named]}


class Settings(ServingSettings):
    """Everything that a settings file may say. Made by `load`; keyword arguments are the flags."""

    preset: Literal["paper"] | None = None
    state_directory: Path = Path("asmg-state")
    collectors: Annotated[int, Field(ge=1)] = 1
    records: RecordSettings = Field(default_factory=RecordSettings)
    periods: Annotated[AnyPeriods, Field(discriminator="by"), BeforeValidator(_periods)] = Field(
        default_factory=lambda: EqualCount(count=DEFAULT_COUNT)
    )
    learning: Annotated[LearningSettings, BeforeValidator(_learning)] = Field(default_factory=LearningSettings)

    @classmethod
    def unjudged(cls, values: Values) -> Values:
        """Everything is judged here."""
        return values

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """As for serving, and below the file the preset that any of them names."""
        written = super().settings_customise_sources(settings_cls, init_settings)
        return (*written, LayerSource(settings_cls, lambda stronger: preset_values(stronger.get("preset"))))

    def worker(self) -> WorkerSettings:
        """The sections of the worker."""
        return WorkerSettings(
            **{field.name: getattr(self, field.name) for field in fields(WorkerSettings)},
        )

    def replay(self) -> ReplaySettings:
        """The sections of a replay."""
        return ReplaySettings(self.model, self.records, self.periods, self.learning)


def preset_values(name: Any) -> Values:
    """What a preset says, as a source of settings; an unknown name is left to validation."""
    if name != "paper":
        return {}
    plain, changed = LearningSettings(), paper(LearningSettings())
    values = {f.name: getattr(changed, f.name) for f in fields(changed)}
    return {"learning": {key: value for key, value in values.items() if value != getattr(plain, key)}}

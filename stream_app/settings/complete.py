"""All settings of asmg-stream. Importing this needs the worker's packages."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from models.learning import LearningSettings, paper
from models.parameters import CATEGORY
from models.selection import AUTO, PLAIN
from stream_app.live.worker_settings import WorkerSettings
from stream_app.replay import ReplaySettings
from stream_app.settings.ingest import IngestSettings
from stream_app.settings.own import with_own
from stream_app.settings.sources import LayerSource, Values


def _learning(value: Any) -> Any:
    """A method may be given by its name alone, and several as "iu,asmg"; "auto" among them says what serves."""
    if not isinstance(value, dict) or "methods" not in value:
        return value
    methods = value["methods"]
    named = [name.strip() for name in methods.split(",")] if isinstance(methods, str) else methods
    if not isinstance(named, list | tuple):
        return value
    given = {**value, "methods": [{"method": one} if isinstance(one, str) else one for one in named if one != AUTO]}
    if AUTO not in named:
        return given
    if value.get("serve", AUTO) != AUTO:
        raise ValueError(
            f"methods name {AUTO}, but serve is {value['serve']!r}: take {AUTO} out or set serve to it too"
        )
    if given["methods"] == [{"method": PLAIN}]:
        raise ValueError(f"methods give {AUTO} nothing to choose from but {PLAIN}: name others too, or {AUTO} alone")
    if not given["methods"]:  # "auto" alone: among the usual ones
        del given["methods"]
    return given | {"serve": AUTO}


def _finds_its_categories(learning: LearningSettings, info: ValidationInfo) -> LearningSettings:
    """Raises ValueError when the base model looks up categories that no record has."""
    records, base = info.data.get("records"), learning.base_model
    if records is not None and not records.categories and CATEGORY in base.tables.values():
        raise ValueError(f"base_model: {base.name} looks up categories; name their field in records.categories")
    return learning


class Settings(IngestSettings):
    """Everything that a settings file may say. Made by `load`; keyword arguments are the flags."""

    model_config = SettingsConfigDict(
        arbitrary_types_allowed=True
    )  # what is somebody's own is checked where it is made

    preset: Literal["paper"] | None = None
    learning: Annotated[
        LearningSettings, BeforeValidator(with_own), BeforeValidator(_learning), AfterValidator(_finds_its_categories)
    ] = Field(default_factory=LearningSettings)

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
        return replace(super().worker(), learning=self.learning)

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

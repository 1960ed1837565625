"""The settings of a serving process: what a plain install can read, from the same file as the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream_app.broker import KafkaSettings
from stream_app.live.cluster.topics import TopicSettings
from stream_app.settings.durations import durations
from stream_app.settings.sources import LayerSource, Values, file_of, from_environment, from_file
from stream_app.sinks.publish_settings import PublishSettings
from stream_app.subscriber.settings import SubscriberPolicy, SubscriberSettings
from stream_app.telemetry import TelemetrySettings

WORKER_KEYS = (
    *("preset", "state_directory", "records", "periods", "window", "metrics", "learning", "collectors", "collect"),
)
"""Settings that only a worker's install can judge; a serving process leaves them alone."""

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""Part of consumer groups and transactional ids, which Kafka limits to these characters."""


_NONE = {"stale_after": 0, "cache": ""}


def _subscriber(value: Any) -> Any:
    """A duration may be written as text ("1h"), several keys as "a.pem,b.pem"; a file has no word for none, so 0 and ""
    stand for it."""
    if not isinstance(value, dict):
        return value
    value = durations(value, ["stale_after"])
    if isinstance(keys := value.get("keys"), str):
        value["keys"] = [key.strip() for key in keys.split(",") if key.strip()]
    return value | {key: None for key, none in _NONE.items() if value.get(key) == none}


class ServingSettings(BaseSettings):
    """Whom to ask for which model. Made by `load`; keyword arguments are the flags."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, nested_model_default_partial_update=False, hide_input_in_errors=True
    )

    config: Path | None = None
    model: ModelName = "default"
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    topics: TopicSettings = Field(default_factory=TopicSettings)
    publish: PublishSettings = Field(default_factory=PublishSettings)
    subscriber: Annotated[SubscriberPolicy, BeforeValidator(_subscriber)] = Field(default_factory=SubscriberPolicy)
    log: TelemetrySettings = Field(default_factory=TelemetrySettings)

    @classmethod
    def unjudged(cls, values: Values) -> Values:
        """`values` of a source without what this kind of settings leaves alone."""
        return {key: value for key, value in values.items() if key not in WORKER_KEYS}

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, file; the first wins."""
        return (
            init_settings,
            LayerSource(settings_cls, lambda stronger: cls.unjudged(from_environment())),
            LayerSource(settings_cls, lambda stronger: cls.unjudged(from_file(file_of(stronger)))),
        )

    def subscription(self) -> SubscriberSettings:
        """What a subscriber is made with: whom to ask, and its section."""
        return SubscriberSettings(self.kafka, self.topics.models, self.model, **vars(self.subscriber))

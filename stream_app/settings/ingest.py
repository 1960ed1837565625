"""The settings of the processes that take interactions in: everything but the learning, and without its packages.

Torch takes seconds to load and hundreds of megabytes; a collector has no use for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from stream_app.errors import SettingsError
from stream_app.events.periods import AnyPeriods, EqualCount
from stream_app.events.record import RecordSettings
from stream_app.formats.encode import Encoder
from stream_app.live.seeing.metrics_settings import MetricsSettings
from stream_app.live.stages.collect_settings import CollectSettings
from stream_app.live.stages.trimming import WindowSettings
from stream_app.live.worker_settings import WorkerSettings
from stream_app.settings.durations import durations
from stream_app.settings.records import Records
from stream_app.settings.serving import ServingSettings
from stream_app.settings.sources import Values

DEFAULT_COUNT = 10_000
LEARNING_KEYS = ("preset", "learning")
"""Settings that only the trainer can judge; whoever starts a worker has had them judged before."""


def _collect(value: Any) -> Any:
    """A duration may be written as text ("30s")."""
    return durations(value, ["idle_after"])


def _periods(value: Any) -> Any:
    """`by` follows from what else is given, and durations may be written as text ("1h")."""
    if not isinstance(value, dict):
        return value
    value = durations(value, ["length", "lateness"])
    kind = value.setdefault("by", "time" if "length" in value else "count")
    return {"count": DEFAULT_COUNT, **value} if kind == "count" else value


def _late_rows_can_be_written(periods: Any, info: ValidationInfo) -> Any:
    """Raises ValueError when late rows are to become messages which these records cannot be."""
    records = info.data.get("records")
    if periods.late == "dead-letter" and records is not None:
        try:
            encoder = Encoder(records)
            if records.positive_when:
                encoder.check_labels()
        except SettingsError as error:
            raise ValueError(f'late: "dead-letter" goes not with these records; {error}') from error
    return periods


class IngestSettings(ServingSettings):
    """What `collect` and `window` need. Made by `load`."""

    state_directory: Path = Path("asmg-state")
    collectors: Annotated[int, Field(ge=1)] = 1
    collect: Annotated[CollectSettings, BeforeValidator(_collect)] = Field(default_factory=CollectSettings)
    records: Records = Field(default_factory=RecordSettings)
    periods: Annotated[
        AnyPeriods, Field(discriminator="by"), BeforeValidator(_periods), AfterValidator(_late_rows_can_be_written)
    ] = Field(default_factory=lambda: EqualCount(count=DEFAULT_COUNT))
    window: WindowSettings = Field(default_factory=WindowSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)

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
            metrics=self.metrics,
            publish=self.publish,
            collectors=self.collectors,
            collect=self.collect,
        )

"""What a worker needs to know, section by section; `stream_app.settings` fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stream_app.broker import KafkaSettings
from stream_app.events.periods import AnyPeriods, EqualCount
from stream_app.events.record import RecordSettings
from stream_app.live.cluster.topics import TopicSettings
from stream_app.live.seeing.metrics_settings import MetricsSettings
from stream_app.live.stages.collect_settings import CollectSettings
from stream_app.live.stages.trimming import WindowSettings
from stream_app.sinks.publish_settings import PublishSettings

if TYPE_CHECKING:  # torch takes seconds to load, and the processes that only ingest have no use for it
    from models.learning import LearningSettings


@dataclass(frozen=True)
class WorkerSettings:
    """`state_directory` belongs to one worker; one of the `collectors` decodes some 100,000 records a second."""

    model: str = "default"
    state_directory: Path = Path("asmg-state")
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    records: RecordSettings = field(default_factory=RecordSettings)
    periods: AnyPeriods = field(default_factory=lambda: EqualCount(count=10_000))
    window: WindowSettings = field(default_factory=WindowSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    publish: PublishSettings = field(default_factory=PublishSettings)
    learning: LearningSettings | None = None
    """None: its defaults. Only the trainer needs it."""
    collectors: int = 1
    collect: CollectSettings = field(default_factory=CollectSettings)

    def __post_init__(self) -> None:
        if self.collectors < 1:
            raise ValueError(f"collectors: must be 1 or more, is {self.collectors}")

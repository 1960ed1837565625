"""Where a subscriber finds versions, and which it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stream_app.broker import KafkaSettings
from stream_app.sinks.directory import DirectorySink
from stream_app.sinks.protocol import VersionSink
from stream_app.versions.assembler import MAX_BYTES


@dataclass(frozen=True)
class SubscriberSettings:
    """Where versions come from: `topic` of `kafka`, or `directory` if given. `model`: the name that they must carry.

    max_bytes: largest version that is accepted. poll: seconds to wait for messages at a time, also how long a stop
    may take. keys: public keys of those who may publish, PEM files or 32 bytes in base64; none: anybody may.
    """

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topic: str = "asmg-models"
    model: str = "default"
    directory: Path | None = None
    max_bytes: int = MAX_BYTES
    poll: float = 0.5
    keys: tuple[str, ...] = ()

    def source(self) -> VersionSink:
        """The place to read from."""
        if self.directory is not None:
            return DirectorySink(self.directory, self.model)
        from stream_app.sinks.kafka import KafkaSink  # the client takes half of the time that an import may take

        return KafkaSink(self.kafka, self.topic, self.model)

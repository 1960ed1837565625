"""What may be set about collecting; light to import, since every command reads settings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class CollectSettings:
    """Where reading begins, and when a partition is idle."""

    start: str = "earliest"
    """Where a first start begins: "earliest", "latest", or a time (Kafka's timestamps; ISO 8601 with its zone)."""
    idle_after: float = 0.0
    """Seconds of quiet after which a partition holds no period back any more; 0: never."""

    def __post_init__(self) -> None:
        if not 0 <= self.idle_after < 1e9:
            raise ValueError(f"idle_after: must be 0 or more seconds, is {self.idle_after}")
        if self.start not in ("earliest", "latest"):
            _ = self.start_ms

    @property
    def start_ms(self) -> int:
        """A `start` that is a time, in milliseconds since the epoch. Raises ValueError when it is none with a zone."""
        try:
            time = datetime.fromisoformat(self.start)
        except ValueError:
            time = None
        if time is None or time.tzinfo is None:
            raise ValueError(
                f"start: must be earliest, latest, or a time with its zone (2026-01-31T00:00:00Z), is {self.start!r}"
            )
        return int(time.timestamp() * 1000)

"""Where live histories come from, and how much of them is held."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_app.broker import KafkaSettings


@dataclass(frozen=True)
class HistorySettings:
    """`topic` of `kafka`: the segments of the worker that trains what is served.

    clock_skew: seconds by which event times may be ahead of the broker's clock (`records.max_clock_skew` says what the
    worker takes); a follower begins to read that much earlier. max_rows: of all users together, 30 of each at most;
    130 to 250 bytes a row. poll: seconds to wait for messages at a time, also how long a stop may take. Raises
    ValueError.
    """

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topic: str = "asmg-segments"
    clock_skew: float = 3600.0
    max_rows: int = 200_000
    poll: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.clock_skew < 1e12:
            raise ValueError(f"clock_skew is {self.clock_skew:g}, expected seconds from 0 on")
        if self.max_rows < 1:
            raise ValueError(f"max_rows is {self.max_rows}, expected 1 or more")
        if not self.poll > 0:
            raise ValueError(f"poll is {self.poll:g}, expected seconds above 0")

"""Where a worker shows its metrics and its health; `observation` serves them."""

from __future__ import annotations

from dataclasses import dataclass

_LARGEST = 65_535


@dataclass(frozen=True)
class MetricsSettings:
    """port: of 127.0.0.1, no other address; 0: nothing is served."""

    port: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= _LARGEST:
            raise ValueError(f"port: must be from 0 to {_LARGEST}, is {self.port}")

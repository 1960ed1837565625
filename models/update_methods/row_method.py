"""What the methods that move rows by what is known of them have in common: their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class RowMethod:
    """learning_rate: of Adam, which carries on from period to period; batch: samples per step; average: steps that the
    running average of the weights reaches back. Raises ValueError for settings that cannot work."""

    method: str
    learning_rate: float = 1e-2
    batch: int = 256
    average: int = 60
    window: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("batch", "average"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1, got {self.learning_rate}")

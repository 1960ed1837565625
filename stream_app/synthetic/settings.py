"""What is asked of a synthetic stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Drift = Literal["sudden", "gradual", "recurring"]
DRIFTS: tuple[Drift, ...] = get_args(Drift)

MOST = {"interactions": 10_000_000_000, "users": 10_000_000, "items": 10_000_000, "genres": 1_000}
"""Users and items cost memory for as long as the stream is made: about 600 bytes a user, 120 an item."""
MOST_DAYS = 36_525.0
"""A century: event times stay within what every format of a time can hold."""


@dataclass(frozen=True)
class SyntheticSettings:
    """What a stream is made from; the same settings make the same rows.

    users, items: how many ids there are; some may never occur. drift: the ways in which preferences change, none or
    several together. strength: how much a change replaces: preferences before and after it have the correlation
    1 - strength. label_noise: the probability that a label is turned round. implicit: positives only.
    categories: say each item's genre. Raises ValueError, beginning with the name of the field and a colon.
    """

    interactions: int = 100_000
    users: int = 2_000
    items: int = 1_000
    days: float = 30.0
    drift: tuple[Drift, ...] = ("gradual",)
    strength: float = 0.5
    label_noise: float = 0.05
    implicit: bool = False
    categories: bool = False
    genres: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            if not 1 <= (count := getattr(self, name)) <= most:
                raise ValueError(f"{name}: must be at least 1 and at most {most}, is {count}")
        # Written so that NaN, which compares as false with everything, is refused as well.
        if not 0 < self.days <= MOST_DAYS:
            raise ValueError(f"days: must be above 0 and at most {MOST_DAYS:.0f}, is {self.days}")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength: must be between 0 (no change) and 1 (nothing in common), is {self.strength}")
        if not 0 <= self.label_noise < 0.5:
            raise ValueError(f"label_noise: must be at least 0 and below 0.5 (a coin's), is {self.label_noise}")
        if self.seed < 0:
            raise ValueError(f"seed: must be at least 0, is {self.seed}")
        for kind in self.drift:
            if kind not in DRIFTS:
                raise ValueError(f"drift: {kind!r} is none of {', '.join(DRIFTS)}")
        if len(set(self.drift)) < len(self.drift):
            raise ValueError(f"drift: must name each kind once, is {','.join(self.drift)}")

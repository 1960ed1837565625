"""Selection `auto`: of several candidates, the one whose recent log loss is lowest serves until the next period closes.

Rules (algorithms.md, "Selection `auto`"):
1. Every candidate is scored on every period before anything trains on it; s <- r s + (1 - r) logloss, with
   r = 2^(-1 / half-life), and the first value as it is.
2. The lowest s serves next. A tie goes to `iu`, as the first choice of all does; where `iu` is no candidate, to the
   first of the candidates.
3. A period without a score changes nothing. A candidate whose predictions were no numbers while another's were does not
   serve again: its s is infinite from then on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

AUTO = "auto"
"""What `serve` says for this selection; no method may have this name."""
PLAIN = "iu"


@dataclass(frozen=True)
class Auto:
    """Settings. half_life: periods after which a log loss counts half; candidates: names of methods, empty for all."""

    half_life: float = 2.0
    candidates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.half_life < math.inf:
            raise ValueError(f"half_life must be a number of periods above 0, got {self.half_life}")
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError(f"candidates must name each method once, got {list(self.candidates)}")


@dataclass(frozen=True)
class Selection:
    """What is remembered: the smoothed log loss of each method that was ever scored."""

    smoothed: Mapping[str, float]

    def observed(self, losses: Mapping[str, float], half_life: float) -> Selection:
        """After one more period; losses: log loss by method, NaN where there is none."""
        if all(math.isnan(loss) for loss in losses.values()):
            return self
        keep = 2 ** (-1 / half_life)
        smoothed = dict(self.smoothed)
        for name, loss in losses.items():
            value = math.inf if math.isnan(loss) else loss
            smoothed[name] = keep * smoothed[name] + (1 - keep) * value if name in smoothed else value
        return Selection(smoothed)

    def chosen(self, candidates: Sequence[str]) -> str:
        """The name of what serves next."""
        first = PLAIN if PLAIN in candidates else candidates[0]
        return min((first, *candidates), key=lambda name: self.smoothed.get(name, math.inf))

    def explained(self, candidates: Sequence[str]) -> dict[str, str | int | float | None]:
        """The choice as plain facts for manifest and report: what, by which numbers, and why in one sentence."""
        name = self.chosen(candidates)
        losses = {
            other: self.smoothed[other] for other in candidates if math.isfinite(self.smoothed.get(other, math.nan))
        }
        return {
            "serve": AUTO,
            "chosen": name,
            **{f"smoothed_log_loss.{other}": losses.get(other) for other in candidates},
            "reason": _reason(name, losses),
        }


def _reason(name: str, losses: Mapping[str, float]) -> str:
    if name not in losses:
        return f"no period has been scored yet: {name} serves first"
    others = {other: loss for other, loss in losses.items() if other != name}
    if not others:
        return f"{name} is the only candidate with a score"
    best = min(others, key=lambda other: others[other])
    if others[best] == losses[name]:
        return f"{name} and {best} are level at a smoothed log loss of {losses[name]:.4f}: {name} comes first"
    return f"{name} has the lowest smoothed log loss, {losses[name]:.4f} against {others[best]:.4f} of {best}"

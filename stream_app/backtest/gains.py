"""How much better than plain incremental update a method is, and how sure that is: paired gains with a 95 % interval.

A gain is paired: method minus `iu` on the same seed (so on the same base model, negatives and order) and the same
period. The gains d[seed, period] are a crossed array, and not that many independent numbers: what a period is like is
common to all seeds, neighbouring periods are alike, and what a seed started from stays with it. So

    variance of the mean = V_seeds + V_periods
    V_seeds   = sample variance of the seeds' means / S                           S - 1 degrees of freedom
    V_periods = long-run variance of the periods' means / T, from its projections on the
                v = ceil(0.4 T^(2/3)) slowest cosines                               v degrees of freedom
    interval  = mean ± t quantile * sqrt(V_seeds + V_periods), degrees of freedom after Satterthwaite

Two-way clusters with dependent periods: Chiang, Hansen, Sasaki, "Standard errors for two-way clustering with serially
correlated time effects" (2022); the cosines and their number: Lazarus, Lewis, Stock, Watson, "HAR inference:
recommendations for practice" (JBES 2018). Noise of a single cell is in both terms, which errs on the wide side.
With one seed the interval is over periods alone, with one period over seeds alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
HIGHER_IS_BETTER = ("auc", "auc_seen_items", "gauc", "recall", "ndcg")
RATIO = "calibration"
"""Best at 1: its gain is the change of its distance from 1. Of every metric that is not named here lower is better."""

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Gain:
    """Of one metric of one method over `iu`; None where there is nothing to compare, or too little for an interval.

    mean: over seeds and periods; low, high: its 95 % interval; worst, best: the mean of the seed that gained least and
    of the one that gained most.
    """

    mean: float | None
    low: float | None
    high: float | None
    worst: float | None
    best: float | None


def gain(metric: str, method: Table, plain: Table) -> Gain:
    """Paired gain over `plain`. Both: [seeds, periods], NaN where the metric is not defined.

    A period in which it is not defined for every seed of both is left out.
    """
    if metric == RATIO:
        method, plain = np.abs(method - 1), np.abs(plain - 1)
    gains = method - plain
    gains = gains[:, ~np.isnan(gains).any(axis=0)]
    if not gains.size:
        return Gain(None, None, None, None, None)
    seeds = [float(mean) for mean in gains.mean(axis=1)]
    worst, best = min(seeds), max(seeds)
    if metric not in HIGHER_IS_BETTER:
        worst, best = best, worst
    low, high = interval(gains)
    return Gain(float(gains.mean()), low, high, worst, best)


def interval(gains: Table, level: float = LEVEL) -> tuple[float, float] | tuple[None, None]:
    """Confidence interval of the mean of `gains` [seeds, periods]; (None, None) for a single number."""
    parts = [part for part in (_over_seeds(gains), _over_periods(gains)) if part is not None]
    if not parts:
        return None, None
    variance = sum(part for part, _ in parts)
    # Satterthwaite: the degrees of freedom of a sum of variances, each estimated with its own.
    freedom = variance**2 / sum(part**2 / own for part, own in parts) if variance else 1.0
    reach = student(0.5 + level / 2, freedom) * math.sqrt(variance)
    mean = float(gains.mean())
    return mean - reach, mean + reach


def described(seeds: int, periods: int) -> str:
    """In words, for a report: over what the interval is taken, and how."""
    over = " and ".join(
        [f"{seeds} seeds"] * (seeds > 1) + [f"the last {periods} periods, which depend on each other"] * (periods > 1)
    )
    if not over:
        return "none: one seed and one period"
    alone = "" if seeds > 1 else "; one seed only: how much another would differ is not in it"
    return (
        f"{LEVEL:.0%}, of the mean paired gain over {over}{alone}; t interval, two-way clustered variance "
        "(Chiang, Hansen, Sasaki 2022) with the periods' long-run variance from "
        f"{_cosines(periods)} cosines (Lazarus and others 2018)"
    )


def student(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution, for `probability` >= 0.5 and any number of degrees of freedom from 1 on.

    By its density under x = sqrt(freedom) * tan(angle), which is proportional to cos(angle)^(freedom - 1).
    """
    freedom = min(freedom, 1e4)  # beyond it is the normal distribution, and too narrow for the grid
    angle = np.linspace(0.0, math.pi / 2, 20_001)
    density = np.cos(angle).clip(min=0.0) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(2 * probability - 1, mass / mass[-1], angle)))


def _over_seeds(gains: Table) -> tuple[float, float] | None:
    """(part of the mean's variance, its degrees of freedom); None for one seed."""
    seeds = len(gains)
    return (float(gains.mean(axis=1).var(ddof=1)) / seeds, seeds - 1.0) if seeds > 1 else None


def _over_periods(gains: Table) -> tuple[float, float] | None:
    """The same of the periods. The cosines are orthogonal to the mean: it need not be taken away first."""
    periods = gains.shape[1]
    if periods < 2:
        return None
    number = np.arange(1, _cosines(periods) + 1)[:, None]
    cosines = math.sqrt(2 / periods) * np.cos(math.pi * number * (np.arange(periods) + 0.5) / periods)
    projections = cosines @ gains.mean(axis=0)
    return float((projections**2).mean()) / periods, float(len(number))


def _cosines(periods: int) -> int:
    return math.ceil(0.4 * math.pow(periods, 2 / 3))

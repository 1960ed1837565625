"""The pictures of a backtest, each an `<svg>` element: see `svg.py` for how they stand inside the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from stream_app.backtest.gains import HIGHER_IS_BETTER
from stream_app.backtest.html.numbers import Numbers, mean_over_seeds
from stream_app.backtest.html.svg import Look, figure, inline
from stream_app.backtest.html.verdicts import NAMES, printable
from stream_app.backtest.summary import PLAIN

FEW = 30
"""A bin with fewer predictions is left out of the calibration curve: its share of positives is mostly chance."""

_NEUTRAL, _SOFT = "#4d4d4d", "#bdbdbd"
_LONGEST = 24  # letters of a name beside the axes, which it leaves no room for otherwise


def looks(numbers: Numbers) -> dict[str, Look]:
    """One look per method, the same in every picture."""
    return {method: Look.of(method, number) for number, method in enumerate(numbers.methods)}


def over_periods(numbers: Numbers, metric: str) -> str:
    """A metric of every method over the periods: mean of the seeds, and the band from the worst to the best of them."""
    with figure(2.9) as (drawn, (axes,)):
        for method, look in looks(numbers).items():
            _band(axes, numbers.periods, numbers.values(method, metric), look)
        axes.set(xlabel="update period", ylabel=NAMES[metric])
        _shade_last(axes, numbers)
        return inline(drawn, f"periods-{metric}", f"{NAMES[metric]} of every method over the update periods")


def gain_over_periods(numbers: Numbers, metric: str) -> str:
    """The paired gain of every other method over the baseline, period by period, with the band of the seeds."""
    plain = numbers.values(PLAIN, metric)
    with figure(2.9) as (drawn, (axes,)):
        axes.axhline(0, color=_NEUTRAL, linestyle="--", linewidth=1.2)
        for method, look in looks(numbers).items():
            if method != PLAIN:
                _band(axes, numbers.periods, numbers.values(method, metric) - plain, look)
        axes.set(xlabel="update period", ylabel=f"{NAMES[metric]}: method − {PLAIN}\n({_better(metric, '↑', '↓')})")
        _shade_last(axes, numbers)
        label = f"{NAMES[metric]} of every method minus that of {PLAIN}, over the update periods"
        return inline(drawn, f"gains-{metric}", label)


def gains(numbers: Numbers, metric: str) -> str:
    """Mean paired gain of each method with its interval; ticks at the worst and the best seed."""
    rows = [(method, look) for method, look in looks(numbers).items() if method != PLAIN]
    with figure(0.85 + 0.36 * len(rows)) as (drawn, (axes,)):
        axes.axvline(0, color=_NEUTRAL, linestyle="--", linewidth=1.2)
        for place, (method, look) in enumerate(rows):
            gain = numbers.gain(method, metric)
            if (mean := gain.get("mean")) is None:
                continue
            low, high = gain.get("low"), gain.get("high")
            if low is not None and high is not None:
                axes.plot([low, high], [place] * 2, color=look.colour, linewidth=2.5, solid_capstyle="butt")
            seeds = [seed for name in ("worst", "best") if (seed := gain.get(name)) is not None]
            axes.plot(seeds, [place] * len(seeds), color=look.colour, marker="|", markersize=11, linestyle="none")
            axes.plot([mean], [place], color=look.colour, marker=look.mark, markersize=7)
        _rows(axes, [method for method, _ in rows])
        axes.set_xlabel(f"{NAMES[metric]}: method − {PLAIN} ({_better(metric, '→', '←')})")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return inline(drawn, f"gain-{metric}", f"Mean paired gain in {NAMES[metric]} over {PLAIN}, with intervals")


def cost(numbers: Numbers) -> str:
    """Seconds per period of each method, and how many times the baseline's that is."""
    with figure(0.85 + 0.36 * len(numbers.methods)) as (drawn, (axes,)):
        for place, (method, look) in enumerate(looks(numbers).items()):
            seconds, times = numbers.cost(method)
            if math.isnan(seconds):
                continue
            axes.barh(place, seconds, height=0.6, color=look.colour, alpha=0.85)
            said = "" if math.isnan(times) else f"{times:.2f} ×"
            axes.annotate(said, (seconds, place), (4, 0), textcoords="offset points", va="center")
        _rows(axes, numbers.methods)
        axes.margins(x=0.18)
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds per update period")
        return inline(drawn, "cost", "Seconds per update period of each method")


def calibration(numbers: Numbers) -> str:
    """Share of positives over mean predicted probability, by bin; over all seeds and scored periods."""
    with figure(3.6) as (drawn, (axes,)):
        axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1.2)
        for method, look in looks(numbers).items():
            sums = numbers.calibration(method)
            count = np.array(sums.count, np.float64)
            filled = count >= FEW
            predicted = np.array(sums.predicted)[filled] / count[filled]
            share = np.array(sums.positives)[filled] / count[filled]
            axes.plot(predicted, share, **look.line())
            sizes = 6 + 90 * count[filled] / max(count.sum(), 1)
            axes.scatter(predicted, share, s=sizes, color=look.colour, marker=look.mark)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="share of positives", aspect="equal")
        return inline(drawn, "calibration", "Share of positives over predicted probability, for every method")


def known_and_new(numbers: Numbers, kind: str) -> str:
    """Distinct "users" or "items" of each period: those seen before it and the new ones, stacked."""
    periods = [period["period"] for period in numbers.all_periods]
    seen = [period[f"{kind}_seen"] for period in numbers.all_periods]
    new = [period[f"{kind}_new"] for period in numbers.all_periods]
    with figure(2.3) as (drawn, (axes,)):
        axes.bar(periods, seen, color="#56b4e9", width=0.8)
        axes.bar(periods, new, bottom=seen, color="#e69f00", width=0.8, hatch="////", edgecolor="#ffffff", linewidth=0)
        axes.set(xlabel="update period", ylabel=f"{kind} of the period")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return inline(drawn, kind, f"{kind.capitalize()} of each period, those seen before and new ones")


def choices(numbers: Numbers) -> str:
    """What `auto` served in each period, a row per seed."""
    look_of, chosen = looks(numbers), numbers.chosen()
    with figure(0.8 + 0.24 * len(chosen)) as (drawn, (axes,)):
        for row, names in enumerate(chosen):
            for period, name in zip(numbers.periods, names, strict=True):
                if name is not None and (look := look_of.get(name)) is not None:
                    axes.plot([period], [row], color=look.colour, marker=look.mark, markersize=6, linestyle="none")
        _rows(axes, [f"seed {seed}" for seed in numbers.seeds])
        axes.set_xlabel("update period")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return inline(drawn, "choices", "The method that auto served in each period, for every seed")


def regret(numbers: Numbers, curves: Mapping[str, Sequence[tuple[int, float | None]]]) -> str:
    """Log loss of every method minus that of the true probabilities, over the periods; 0 cannot be beaten."""
    with figure(2.9) as (drawn, (axes,)):
        for method, look in looks(numbers).items():
            points = {period: value for period, value in curves.get(method, ()) if value is not None}
            _line(axes, list(points), list(points.values()), look)
        axes.axhline(0, color=_NEUTRAL, linewidth=1.2)
        axes.set(xlabel="update period", ylabel="log loss − that of the truth")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return inline(drawn, "regret", "Regret of every method over the update periods")


def _band(axes: Axes, periods: Sequence[int], values: np.ndarray, look: Look) -> None:
    """values: [S, T]"""
    mean = mean_over_seeds(values)
    if len(values) > 1 and not look.broad:
        low = np.where(np.isnan(values), np.inf, values).min(axis=0)
        high = np.where(np.isnan(values), -np.inf, values).max(axis=0)
        axes.fill_between(periods, low, high, where=~np.isnan(mean), color=look.colour, alpha=0.15, linewidth=0)
    _line(axes, periods, mean.tolist(), look)


def _line(axes: Axes, periods: Sequence[float], values: Sequence[float], look: Look) -> None:
    axes.plot(periods, values, **look.line(), marker=None if look.broad else look.mark, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _shade_last(axes: Axes, numbers: Numbers) -> None:
    """The periods that means and intervals are taken over."""
    if numbers.periods:
        axes.axvspan(numbers.periods[-numbers.last] - 0.5, numbers.periods[-1] + 0.5, color="#000000", alpha=0.05, lw=0)


def _better(metric: str, up: str, down: str) -> str:
    return f"{up if metric in HIGHER_IS_BETTER else down} better"


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """A row of the axes for each name, from top to bottom."""
    shown = [name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…" for name in map(printable, names)]
    axes.set_yticks(range(len(names)), shown)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)

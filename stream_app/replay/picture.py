"""metrics.png: AUC and log loss of every method over the periods, and of what `auto` served."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.selection import AUTO
from stream_app.replay.results import PeriodResult

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers too
MARKS = ("o", "s", "^", "D", "v", "P")


def draw(path: Path, title: str, results: Sequence[PeriodResult]) -> None:
    """Two panels side by side; a period in which a metric is not defined is a gap. Writes a PNG."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _panel(left, results, "auc", "AUC (higher is better)")
    _panel(right, results, "log_loss", "log loss (lower is better)")
    handles, labels = left.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _panel(axes: Axes, results: Sequence[PeriodResult], metric: str, label: str) -> None:
    scored = [result for result in results if result.candidates]
    methods = list(dict.fromkeys(method for result in scored for method in result.candidates))
    for number, method in enumerate(methods):
        values = [_number(result.candidates.get(method, {}).get(metric)) for result in scored]
        periods = [result.period for result in scored]
        if method == AUTO:  # it lies on the candidate that served: a broad band beneath
            axes.plot(periods, values, color="#999999", linewidth=7, alpha=0.35, zorder=1, label="auto (served)")
            continue
        colour, mark = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
        axes.plot(periods, values, color=colour, marker=mark, markersize=3.5, linewidth=1.4, label=method)
    axes.set(title=label.split(" (")[0], xlabel="update period", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _number(value: float | None) -> float:
    return math.nan if value is None else value

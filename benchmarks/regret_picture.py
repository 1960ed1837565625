"""docs/regret.png: regret of every method over the periods, a panel for each kind of drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PATH = Path(__file__).resolve().parent.parent / "docs" / "regret.png"
STYLES = {
    "no update": ("#777777", "-"),
    "iu": ("#0072b2", "-"),
    "asmg": ("#cc79a7", "-"),
    "asmg-averaged": ("#e69f00", "--"),
    "row-statistics": ("#009e73", "--"),
    "auto": ("#d55e00", "-"),
}
"""Colour, told apart by colour-blind readers too, and line."""


def draw(curves: Mapping[str, Mapping[str, Sequence[float]]], first: int, chapter: int) -> Path:
    """curves: by kind of drift and method, a value a period from period `first` on; chapter: its length in periods.

    Above the regret, below how far it is from that of `iu`; what leaves a panel is a generator that has just begun.
    """
    figure = Figure(figsize=(16, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(curves), sharex=True, sharey="row", height_ratios=(3, 2))
    for (above, below), (kind, methods) in zip(panels.T, curves.items(), strict=True):
        above.axhline(0.0, color="black", linewidth=1.4, label="truth")
        _lines(above, methods, first)
        _lines(
            below, {name: np.subtract(methods[name], methods["iu"]) for name in STYLES if name != "no update"}, first
        )
        above.set_title(f"{kind} drift" if kind != "none" else "no drift: users and items appear, items fade")
        below.set_xlabel("update period")
        for axes in (above, below):
            for begin in range(chapter, first + len(methods["iu"]) - 1, chapter):
                axes.axvline(begin + 0.5, color="#bbbbbb", linewidth=0.8, zorder=0)
    panels[0, 0].set(ylabel="regret: log loss above that of the truth", ylim=(-0.01, 0.25))
    panels[1, 0].set(ylabel="regret minus that of iu (lower is better)", ylim=(-0.01, 0.02))
    figure.suptitle("Regret on generated streams, mean over seeds; at a grey line a chapter of the drift begins")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=7, frameon=False)
    figure.savefig(PATH, dpi=110)
    return PATH


def _lines(axes: Axes, methods: Mapping[str, Sequence[float]], first: int) -> None:
    for name, (colour, line) in STYLES.items():
        if name in methods:
            periods = range(first, first + len(methods[name]))
            axes.plot(periods, methods[name], color=colour, linestyle=line, linewidth=1.5, label=name)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)

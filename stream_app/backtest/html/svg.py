"""A matplotlib figure as SVG that stands inside a page: text stays text, the same figure gives the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from models.selection import AUTO
from stream_app.replay.picture import COLOURS, MARKS

WIDTH = 4.8
"""Inches of every figure: a font of 10 points then is 10 pixels on a phone, and 14 in the columns of a desktop."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "asmg",
    "text.parse_math": False,  # a method may have a dollar sign in its name
    "font.size": 10,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
_URL = re.compile(r"url\(#([^)]+)\)")
_LONG = re.compile(r"(-?\d+\.\d\d)\d+")
_DASHES = ("-", "--", ":", "-.")
_AUTO = "#cc79a7"
_MARKS = tuple(mark for mark in MARKS if mark not in "oD")  # those of the baseline and of auto


@dataclass(frozen=True)
class Look:
    """How a method is drawn, everywhere: told apart by colour-blind readers, and in black and white by its mark."""

    colour: str
    mark: str
    dash: str = "-"
    broad: bool = False
    """A band beneath the other lines, without marks."""

    @staticmethod
    def of(method: str, number: int) -> Look:
        """Of the method with this number. The baseline, 0, is grey; `auto` lies on the candidate that served."""
        if number == 0:
            return Look("#4d4d4d", "o", "--")
        if method == AUTO:
            return Look(_AUTO, "D", broad=True)
        place, colours = number - 1, [colour for colour in COLOURS if colour != _AUTO]
        dash = _DASHES[place // len(colours) % len(_DASHES)]
        return Look(colours[place % len(colours)], _MARKS[place % len(_MARKS)], dash)

    def line(self) -> dict[str, Any]:
        """Of a line in this look, as matplotlib takes it."""
        if self.broad:
            return {"color": self.colour, "linewidth": 6, "alpha": 0.5, "zorder": 1}
        return {"color": self.colour, "linestyle": self.dash, "linewidth": 1.4}


@contextmanager
def figure(height: float, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `height` inches with axes side by side; draw, and take `inline` of it, inside."""
    with matplotlib.rc_context(_STYLE):
        drawn = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(drawn)
        yield drawn, list(drawn.subplots(1, columns, squeeze=False)[0])


def inline(drawn: Figure, name: str, label: str) -> str:
    """The figure as an `<svg>` element without size, namespaces or style of its own.

    name: begins every id in it, so that no two figures of a page share one; label: what a screen reader says.
    """
    root = _element(drawn, name)
    root.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def symbol(look: Look, name: str) -> str:
    """A line with the method's mark, drawn once in a page under this id; `swatch` shows it."""
    with matplotlib.rc_context(_STYLE):
        drawn = Figure(figsize=(0.4, 0.17))
        FigureCanvasSVG(drawn)
        drawn.patch.set_visible(False)
        drawn.add_artist(Line2D([0.05, 0.5, 0.95], [0.5] * 3, **look.line()))
        drawn.add_artist(Line2D([0.5], [0.5], color=look.colour, marker=look.mark, markersize=6))
        root = _element(drawn, name)
    root.tag, root.attrib["id"] = "symbol", name
    return ElementTree.tostring(root, encoding="unicode")


def swatch(name: str) -> str:
    """The symbol of that id, within a line of text."""
    return f'<svg aria-hidden="true"><use href="#{name}" /></svg>'


def _element(drawn: Figure, name: str) -> ElementTree.Element:
    """What matplotlib writes, without what only a file of its own needs."""
    text = io.StringIO()
    drawn.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(text.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag.endswith(("}style", "}metadata"))]:
            parent.remove(child)
    references = {found for element in root.iter() for found in _references(element.attrib)}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _renamed(key, value, name)
            for key, value in element.attrib.items()
            if key != "id" or value in references
        }
        element.tail = None if (element.tail or "").isspace() else element.tail
        element.text = None if (element.text or "").isspace() else element.text
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    return root


def _references(attributes: Mapping[str, str]) -> Iterator[str]:
    """The ids that an element's attributes name."""
    for key, value in attributes.items():
        yield from _URL.findall(value)
        if key.endswith("href"):
            yield value[1:]


def _renamed(key: str, value: str, name: str) -> str:
    """The value of an attribute with ids that begin with `name`, and coordinates of two decimals."""
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return f"#{name}-{value[1:]}"
    return _LONG.sub(r"\1", _URL.sub(rf"url(#{name}-\1)", value))

"""How preferences drift.

The stream has five chapters of equal length. *Sudden* drift: preferences turn where a chapter begins, all at once.
*Gradual*: they turn as far, but evenly throughout each chapter. *Recurring*: they go over to others and come back, one
chapter each way, again and again. Several kinds add up.

To turn by an angle is to become cos(angle) of what was and sin(angle) of something independent: variances stay, so that
nothing grows extreme, and the correlation with what was is cos(angle) = 1 - strength. (Kinds of drift: J. Gama and
others, "A Survey on Concept Drift Adaptation", ACM Computing Surveys 46(4), 2014.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from stream_app.synthetic.settings import Drift

Values = NDArray[np.float64]
Drawn = Callable[[str, int], Values]
"""(purpose, chapter) -> independent standard normal values, the same ones for the same name."""

CHAPTERS = 5
STEPS = 60
"""Moments at which the world changes, a multiple of the chapters; in between it stands still."""


def drifting(kinds: Collection[Drift], strength: float, drawn: Drawn) -> Iterator[Values]:
    """The preferences at each of the STEPS."""
    angle = math.acos(1 - strength)
    now = drawn("first", 0)
    other = drawn("recurring", 0) if "recurring" in kinds else now
    for chapter in range(CHAPTERS):
        if "sudden" in kinds and chapter:
            now = turned(now, drawn("sudden", chapter), angle)
        begin = now
        target = drawn("gradual", chapter) if "gradual" in kinds else now
        for passed in np.arange(0, 1, CHAPTERS / STEPS):
            now = turned(begin, target, passed * angle) if "gradual" in kinds else begin
            # 0 at the beginning of each even chapter, 1 at that of each odd one.
            swing = math.sin((chapter + passed) * math.pi / 2) ** 2
            yield turned(now, other, swing * angle) if "recurring" in kinds else now
        now = turned(begin, target, angle) if "gradual" in kinds else begin


def turned(values: Values, other: Values, angle: float) -> Values:
    """`values` turned by `angle` towards `other`."""
    return math.cos(angle) * values + math.sin(angle) * other

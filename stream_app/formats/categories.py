"""Categories of an item: whatever a record may say, as a row of the column, and how much of it there may be.

Nothing (missing or null) is no category, a string is one, a list is as many as it has; order and repeats do not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.interactions import Categories, category_column

CATEGORIES = 64
"""Most categories that a record may list, repeats included."""

CATEGORY_BYTES = 256
"""Longest category, in UTF-8 bytes; the shortest has one."""

Given = str | Sequence[str] | None
"""What stands in a record."""


def read(given: Sequence[Given]) -> tuple[Categories, NDArray[np.bool_]]:
    """(categories, whether they are within the limits) of each row."""
    rows = [_listed(one) for one in given]
    within = {row: _within(row) for row in set(rows)}  # few distinct ones stand for many rows
    return category_column(rows), np.array([within[row] for row in rows], dtype=np.bool_)


def _listed(given: Given) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _within(row: tuple[str, ...]) -> bool:
    return len(row) <= CATEGORIES and all(1 <= len(text.encode()) <= CATEGORY_BYTES for text in row)

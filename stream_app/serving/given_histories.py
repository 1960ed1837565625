"""Histories that a caller gives for many pairs, as one column of ids or rows with offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.networks.network import Rows
from stream_app.serving.networks.ragged import positions
from stream_app.versions.columns import HISTORY

Histories = Sequence[Sequence[Any]] | tuple[NDArray[Any], NDArray[np.int64]]
"""One sequence of ids a pair; or all of them joined, with the offsets where each begins ([pairs + 1], the first 0)."""


def joined(histories: Histories) -> tuple[Any, Rows]:
    """All ids joined, and the offsets where each history begins. Raises ValueError when given offsets are none."""
    if isinstance(histories, tuple) and len(histories) == 2 and isinstance(histories[1], np.ndarray):
        flat, offsets = histories
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(flat) or np.any(offsets[1:] < offsets[:-1]):
            raise ValueError("offsets of histories do not rise from 0 to the number of ids")
        return flat, offsets.astype(np.int64, copy=False)
    offsets = np.zeros(len(histories) + 1, np.int64)
    np.cumsum([len(history) for history in histories], out=offsets[1:])
    return [item for history in histories for item in history], offsets


def recent(rows: Rows, offsets: Rows) -> tuple[Rows, Rows]:
    """The first 30 rows from each offset on, and the offsets of what is left."""
    lengths = np.minimum(np.diff(offsets), HISTORY)
    return rows[positions(offsets[:-1], lengths)], np.concatenate([[0], np.cumsum(lengths)])

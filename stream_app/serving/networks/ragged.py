"""Many short runs of values, joined in one array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.networks.network import Floats, Rows


def positions(starts: NDArray[Any], lengths: NDArray[Any]) -> Rows:
    """Int64 [sum of lengths]: starts[0], starts[0] + 1, ... for lengths[0] places, then those of the next run."""
    ends = np.cumsum(lengths)
    found: Rows = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
    return found


def means(vectors: Floats, lengths: NDArray[Any]) -> Floats:
    """Mean [len(lengths), width] of the first so many vectors, of the next so many, ...; zeros where that is none."""
    found = np.zeros((len(lengths), vectors.shape[1]), np.float32)
    some = lengths > 0  # reduceat would give an empty run the value of its neighbour
    if some.any():
        sums = np.add.reduceat(vectors, (np.cumsum(lengths) - lengths)[some], axis=0)
        found[some] = sums / lengths[some, None].astype(np.float32)
    return found

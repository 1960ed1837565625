"""The best k of many rows, block by block: only what may still be among them is remembered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_app.serving.networks.network import BLOCK, Floats, Rows


def best(order: Callable[[Rows | slice], Floats], rows: Rows | slice, k: int, without: Rows) -> tuple[Rows, Floats]:
    """The k of `rows` (rising) with the largest numbers, fewer if there are no more, best first; of equal ones the
    smaller row. With their numbers; what is not a number is never among them.

    order: the numbers of some of the rows, at most `BLOCK` at a time. without: rows of a slice (rising) that do not
    count.
    """
    start, stop = (rows.start, rows.stop) if isinstance(rows, slice) else (0, len(rows))
    found, numbers, least = np.zeros(0, np.int64), np.zeros(0, np.float32), -np.inf
    for begin in range(start, stop if k else start, BLOCK):
        end = min(begin + BLOCK, stop)
        own = np.arange(begin, end) if isinstance(rows, slice) else rows[begin:end]
        block = order(slice(begin, end) if isinstance(rows, slice) else own)
        if isinstance(rows, slice):
            low, high = np.searchsorted(without, (begin, end))
            block[without[low:high] - begin] = np.nan
        better = np.flatnonzero(block >= least)
        found, numbers = np.concatenate([found, own[better]]), np.concatenate([numbers, block[better]])
        if len(found) > 2 * k:
            found, numbers, least = _largest(found, numbers, k)
    found, numbers, _ = _largest(found, numbers, k)
    first = np.argsort(-numbers, kind="stable")
    return found[first], numbers[first]


def _largest(rows: Rows, numbers: Floats, k: int) -> tuple[Rows, Floats, float]:
    """The k largest, and the least of them; of what is equal to that the first, so that rows go on rising."""
    if len(rows) <= k:
        return rows, numbers, -np.inf
    least = np.partition(numbers, len(rows) - k)[len(rows) - k]
    kept = numbers > least
    kept[np.flatnonzero(numbers == least)[: k - np.count_nonzero(kept)]] = True
    return rows[kept], numbers[kept], float(least)

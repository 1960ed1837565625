"""Whether the ids of a vocabulary are ids, each of them once: by blocks, without a Python object or a bit for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.versions.columns import kind_of_ids, rising
from stream_app.versions.tensors import Array
from stream_app.versions.utf8 import SHORT, Keys, Texts

_BLOCK = 65_536
_FACTORS = np.random.Generator(np.random.PCG64(0)).integers(0, 2**64, SHORT // 8 + 1, np.uint64) | np.uint64(1)
"""Whoever makes strings for which these are no good pays with time: what has the same hash is compared."""


def check_ids(table: str, tensors: Mapping[str, Array]) -> int:
    """How many ids there are. Raises ValueError unless they are all different, and strings are UTF-8."""
    if kind_of_ids(table, tensors) == "int":
        ids = tensors[f"vocabulary.{table}"]
        once = _integers_once(ids)
        count = len(ids)
    else:
        texts = _texts(table, tensors)
        once = _texts_once(texts)
        count = len(texts.starts)
    if not once:
        raise ValueError(f"vocabulary of {table} has the same id twice")
    return count


def _integers_once(ids: NDArray[np.int64]) -> bool:
    """Those that lie close together are ticked off, a byte an integer; others are sorted."""
    if not len(ids):
        return True
    low, high = int(ids.min()), int(ids.max())
    if high - low < 4 * len(ids):
        ticked = np.zeros(high - low + 1, np.bool_)
        for part in _blocks(len(ids)):
            ticked[ids[part] - low] = True
        return int(np.count_nonzero(ticked)) == len(ids)
    return not _repeated(np.sort(ids)).any()


def _texts_once(texts: Texts) -> bool:
    """Only strings with the same hash are looked at."""
    keys = np.empty(len(texts.starts), np.uint64)
    for part in _blocks(len(keys)):
        block = texts.select(part)
        keys[part] = block.keys(block.words(), _FACTORS)
    order = np.argsort(keys)
    again = _repeated(keys[order])
    suspects = np.unique(np.concatenate((order[1:][again], order[:-1][again])))
    return len({texts.bytes(at) for at in suspects.tolist()}) == len(suspects)


def _texts(table: str, tensors: Mapping[str, Array]) -> Texts:
    raw, offsets = tensors[f"vocabulary.{table}.bytes"], tensors[f"vocabulary.{table}.offsets"]
    if not rising(offsets, len(raw)):
        raise ValueError(f"vocabulary of {table}: offsets do not rise from 0 to the number of bytes")
    texts = Texts.between(raw, offsets[:-1], offsets[1:])
    for part in _blocks(len(texts.starts)):
        block = texts.select(part)
        try:
            raw[block.starts[0] : block.starts[-1] + block.lengths[-1]].tobytes().decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"vocabulary of {table}: {error}") from error
        if np.any(raw[block.starts[block.lengths > 0]] & 0xC0 == 0x80):
            raise ValueError(f"vocabulary of {table}: an id begins within a character")
    return texts


def _repeated(rising: NDArray[np.int64] | Keys) -> NDArray[np.bool_]:
    """[n - 1]: whether each but the first equals the one before."""
    found: NDArray[np.bool_] = rising[1:] == rising[:-1]
    return found


def _blocks(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _BLOCK) for begin in range(0, count, _BLOCK))

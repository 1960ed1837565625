"""Whether the ids of a vocabulary are ids, each of them once: by blocks, without a Python object or a bit for each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.versions.columns import kind_of_ids, rising
from stream_app.versions.tensors import Array
from stream_app.versions.utf8 import SHORT, Bytes, Keys, Places, Texts

_BLOCK = 65_536
_DRAWN = hashlib.shake_128(b"distinct").digest(SHORT + 8)  # numpy.random would be imported for this alone
_FACTORS = np.frombuffer(_DRAWN, np.uint64) | np.uint64(1)
"""Whoever makes strings for which these are no good pays with time: what has the same hash is compared."""


def check_ids(table: str, tensors: Mapping[str, Array]) -> int:
    """How many ids there are. Raises ValueError unless they are all different, and strings are UTF-8."""
    if kind_of_ids(table, tensors) == "int":
        ids = tensors[f"vocabulary.{table}"]
        count, once = len(ids), _integers_once(ids)
    else:
        raw, offsets = tensors[f"vocabulary.{table}.bytes"], tensors[f"vocabulary.{table}.offsets"]
        if not rising(offsets, len(raw)):
            raise ValueError(f"vocabulary of {table}: offsets do not rise from 0 to the number of bytes")
        _check_utf8(table, raw, offsets)
        count, once = len(offsets) - 1, _texts_once(raw, offsets)
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


def _check_utf8(table: str, raw: Bytes, offsets: Places) -> None:
    for part in _blocks(len(offsets) - 1):
        begins, end = offsets[part], offsets[min(part.stop, len(offsets) - 1)]
        try:
            raw[begins[0] : end].tobytes().decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"vocabulary of {table}: {error}") from error
        if np.any(raw[begins[begins < len(raw)]] & 0xC0 == 0x80):
            raise ValueError(f"vocabulary of {table}: an id begins within a character")


def _texts_once(raw: Bytes, offsets: Places) -> bool:
    """Only strings with the same hash are looked at."""
    keys = np.empty(len(offsets) - 1, np.uint64)
    for part in _blocks(len(keys)):
        bounds = offsets[part.start : part.stop + 1]
        block = Texts(raw, bounds[:-1], np.diff(bounds))
        keys[part] = block.keys(block.words(), _FACTORS)
    order = np.argsort(keys)
    again = _repeated(keys[order])
    suspects = np.unique(np.concatenate((order[1:][again], order[:-1][again])))
    return len({raw[offsets[at] : offsets[at + 1]].tobytes() for at in suspects.tolist()}) == len(suspects)


def _repeated(rising: NDArray[np.int64] | Keys) -> NDArray[np.bool_]:
    """[n - 1]: whether each but the first equals the one before."""
    found: NDArray[np.bool_] = rising[1:] == rising[:-1]
    return found


def _blocks(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _BLOCK) for begin in range(0, count, _BLOCK))

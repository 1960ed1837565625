"""String ids: by a hash of their UTF-8 bytes in slots; what is found there is compared byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.ids.slots import BLOCK, Keys, filled, multipliers, places
from stream_app.serving.ids.vocabulary import IdRows, Ids
from stream_app.serving.networks.network import Rows
from stream_app.serving.networks.ragged import positions
from stream_app.versions.tensors import Array

_PERIOD = 1024
"""Factors of the hash; bytes that far apart share one."""


class Texts(NamedTuple):
    """Strings in UTF-8, somewhere in `raw`: [n] where each begins and how long it is."""

    raw: NDArray[np.uint8]
    starts: Rows
    lengths: Rows

    def select(self, which: Rows | slice) -> Texts:
        """Some of them."""
        return Texts(self.raw, self.starts[which], self.lengths[which])

    def bytes(self) -> NDArray[np.uint8]:
        """Of all of them, joined."""
        return self.raw.take(positions(self.starts, self.lengths))


def derived_from_texts(table: str, tensors: Mapping[str, Array], seed: str) -> dict[str, Array]:
    """`<table>.slots`, `<table>.multipliers`, and `<table>.prints`, 32 bits of each string's hash.

    Raises ValueError as `derived_ids`.
    """
    texts = _column(table, tensors)
    for odd in multipliers(seed):
        keys, factors = np.empty(len(texts.starts), np.uint64), _factors(odd)
        for begin in range(0, len(keys), BLOCK):
            keys[begin : begin + BLOCK] = _keys(texts.select(slice(begin, begin + BLOCK)), factors)
        if (slots := filled(keys, odd)) is not None:
            named: dict[str, Array] = {"slots": slots, "multipliers": odd.view(np.int64), "prints": _prints(keys)}
            return {f"{table}.{name}": array for name, array in named.items()}
    raise ValueError(f"vocabulary of {table} has the same id many times")


class TextIds(IdRows):
    """Three reads, and the bytes of what has the same 32 bits of hash."""

    def __init__(self, table: str, tensors: Mapping[str, Array], derived: Mapping[str, Array]) -> None:
        self._texts = _column(table, tensors)
        self._slots, self._prints = np.asarray(derived[f"{table}.slots"]), np.asarray(derived[f"{table}.prints"])
        self._odd = np.array(derived[f"{table}.multipliers"]).view(np.uint64)
        self._factors = _factors(self._odd)

    def __len__(self) -> int:
        return len(self._prints)

    def of(self, ids: Ids) -> Rows:
        """See `IdRows.of`."""
        wanted = _encoded(ids)
        rows = np.zeros(len(wanted.starts), np.int64)
        if not len(rows) or not len(self._prints):
            return rows
        keys = _keys(wanted, self._factors)
        found = self._slots.take(places(keys, self._odd, len(self._slots)))
        alike = (self._prints.take(found - 1, mode="clip") == _prints(keys)) & (found > 0)
        which, candidates = np.nonzero(alike)[1], found[alike].astype(np.int64)
        same = _same(wanted.select(which), self._texts.select(candidates - 1))
        rows[which[same]] = candidates[same]
        return rows


def _column(table: str, tensors: Mapping[str, Array]) -> Texts:
    offsets = np.asarray(tensors[f"vocabulary.{table}.offsets"])
    return Texts(np.asarray(tensors[f"vocabulary.{table}.bytes"]), offsets[:-1], np.diff(offsets))


def _encoded(ids: Ids) -> Texts:
    texts = ids.tolist() if isinstance(ids, np.ndarray) else ids
    try:
        raw = np.frombuffer("\0".join(texts).encode("utf-8", "surrogatepass"), np.uint8)
    except TypeError:
        raise ValueError("this version's ids are strings") from None
    if not len(texts):
        return Texts(raw, np.zeros(0, np.int64), np.zeros(0, np.int64))
    ends = np.append(np.flatnonzero(raw == 0), len(raw))
    if len(ends) != len(texts):  # an id has a zero in it
        ends = np.cumsum([len(text.encode("utf-8", "surrogatepass")) + 1 for text in texts]) - 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    return Texts(raw, starts, ends - starts)


def _factors(odd: Keys) -> Keys:
    """[_PERIOD], from the multipliers by the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    mixed: Keys = odd[0] + np.arange(_PERIOD, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _keys(texts: Texts, factors: Keys) -> Keys:
    """The sum of (byte + 1) x factor of its place, mod 2^64."""
    at = positions(np.zeros(len(texts.lengths), np.int64), texts.lengths)
    terms = (texts.bytes() + np.uint64(1)) * factors.take(at, mode="wrap")
    keys = np.zeros(len(texts.lengths), np.uint64)
    some = texts.lengths > 0  # reduceat would give an empty string the value of its neighbour
    if some.any():
        keys[some] = np.add.reduceat(terms, (np.cumsum(texts.lengths) - texts.lengths)[some])
    return keys


def _prints(keys: Keys) -> NDArray[np.int32]:
    return (keys >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _same(some: Texts, others: Texts) -> NDArray[np.bool_]:
    """[n]: whether each of `some` equals its counterpart in `others`."""
    same: NDArray[np.bool_] = some.lengths == others.lengths
    which = np.flatnonzero(same)
    mine, theirs = some.select(which), others.select(which)
    differing = np.flatnonzero(mine.bytes() != theirs.bytes())
    same[which[np.searchsorted(np.cumsum(mine.lengths), differing, side="right")]] = False
    return same

"""String ids: by a hash of their UTF-8 bytes in slots; what is found there is compared byte for byte."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.ids.slots import BLOCK, filled, multipliers, places
from stream_app.serving.ids.vocabulary import IdRows, Ids
from stream_app.serving.networks.network import Rows
from stream_app.versions.tensors import Array
from stream_app.versions.utf8 import SHORT, Keys, Texts


def derived_from_texts(table: str, tensors: Mapping[str, Array], seed: str) -> dict[str, Array]:
    """`<table>.slots`, `<table>.multipliers`, and `<table>.prints`, 32 bits of each string's hash.

    Raises ValueError as `derived_ids`.
    """
    raw, offsets = tensors[f"vocabulary.{table}.bytes"], tensors[f"vocabulary.{table}.offsets"]
    for odd in multipliers(seed):
        keys, factors = np.empty(len(offsets) - 1, np.uint64), _factors(odd)
        for begin in range(0, len(keys), BLOCK):
            bounds = offsets[begin : begin + BLOCK + 1]
            block = Texts(raw, bounds[:-1], np.diff(bounds))
            keys[begin : begin + BLOCK] = block.keys(block.words(), factors)
        if (slots := filled(keys, odd)) is not None:
            named: dict[str, Array] = {"slots": slots, "multipliers": odd.view(np.int64), "prints": _prints(keys)}
            return {f"{table}.{name}": array for name, array in named.items()}
    raise ValueError(f"vocabulary of {table} has the same id many times")


class TextIds(IdRows):
    """Three reads, and the bytes of what has the same 32 bits of hash."""

    def __init__(self, table: str, tensors: Mapping[str, Array], derived: Mapping[str, Array]) -> None:
        self._raw = np.asarray(tensors[f"vocabulary.{table}.bytes"])
        self._offsets = np.asarray(tensors[f"vocabulary.{table}.offsets"])
        self._slots, self._prints = np.asarray(derived[f"{table}.slots"]), np.asarray(derived[f"{table}.prints"])
        self._odd = np.array(derived[f"{table}.multipliers"]).view(np.uint64)
        self._factors = _factors(self._odd)

    def __len__(self) -> int:
        return len(self._prints)

    def of(self, ids: Ids) -> Rows:
        """See `IdRows.of`."""
        try:
            wanted = Texts.encoded(_plain(ids))
        except TypeError:
            raise ValueError(f"this version's ids are strings, given is {reprlib.repr(ids)}") from None
        rows = np.zeros(len(wanted.starts), np.int64)
        if not len(rows) or not len(self):
            return rows
        words = wanted.words()
        keys = wanted.keys(words, self._factors)
        found = self._slots.take(places(keys, self._odd, len(self._slots)))
        alike = (self._prints.take(found - 1, mode="clip") == _prints(keys)) & (found > 0)
        which, candidates = np.nonzero(alike)[1], found[alike]
        asked = Texts(wanted.raw, wanted.starts[which], wanted.lengths[which])
        same = asked.same_as(words[which], self._texts(candidates))
        rows[which[same]] = candidates[same]
        return rows

    def _texts(self, rows: NDArray[np.int32]) -> Texts:
        starts = self._offsets.take(rows - 1)
        return Texts(self._raw, starts, self._offsets.take(rows) - starts)

    def _joined(self, first: Ids, second: Ids) -> Ids:
        return [*_plain(first), *_plain(second)]


def _plain(ids: Ids) -> Sequence[Any]:
    return ids.tolist() if isinstance(ids, np.ndarray) else ids


def _factors(odd: Keys) -> Keys:
    """One for each word and one for the length, from the multipliers by SplitMix64 (Steele, Lea, Flood 2014)."""
    mixed: Keys = odd[0] + np.arange(SHORT // 8 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1)


def _prints(keys: Keys) -> NDArray[np.int32]:
    return (keys >> np.uint64(32)).astype(np.uint32).view(np.int32)

"""Integer ids: in an array with a place for every integer between the smallest and the largest, or in slots."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.ids.slots import BLOCK, filled, multipliers, places, slots_for
from stream_app.serving.ids.vocabulary import IdRows, Ids
from stream_app.serving.networks.network import Rows
from stream_app.versions.tensors import Array

_ALWAYS_DIRECT = 1 << 19
"""Places that are no question of memory: 2 MB."""
_INTEGERS = np.iinfo(np.int64)


def derived_from_integers(table: str, ids: NDArray[np.int64], seed: str) -> dict[str, Array]:
    """`<table>.direct` [largest - smallest + 3] and `<table>.before`, the smallest - 1, where that takes no more places
    than slots would; else `<table>.slots` and `<table>.multipliers`. Raises ValueError as `derived_ids`.
    """
    low, high = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
    if high - low + 3 <= max(slots_for(len(ids)), _ALWAYS_DIRECT) and low > _INTEGERS.min:
        direct = np.zeros(high - low + 3, np.int32)  # its ends stay 0: what lies beyond is clipped to them
        for begin in range(0, len(ids), BLOCK):
            block = ids[begin : begin + BLOCK]
            direct[block - (low - 1)] = np.arange(begin + 1, begin + 1 + len(block))
        return {f"{table}.direct": direct, f"{table}.before": np.array([low - 1])}
    for odd in multipliers(seed):
        if (slots := filled(ids.view(np.uint64), odd)) is not None:
            return {f"{table}.slots": slots, f"{table}.multipliers": odd.view(np.int64)}
    raise ValueError(f"vocabulary of {table} has the same id many times")


class IntegerIds(IdRows):
    """Their ids are the vocabulary's tensor."""

    def __init__(self, table: str, ids: NDArray[np.int64], derived: Mapping[str, Array]) -> None:
        self._ids = np.asarray(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def _joined(self, first: Ids, second: Ids) -> Ids:
        return np.concatenate((_integers(first), _integers(second)))


class DenseIds(IntegerIds):
    """One subtraction and one read."""

    def __init__(self, table: str, ids: NDArray[np.int64], derived: Mapping[str, Array]) -> None:
        super().__init__(table, ids, derived)
        self._direct = np.asarray(derived[f"{table}.direct"])
        self._before = np.array(derived[f"{table}.before"])

    def of(self, ids: Ids) -> Rows:
        """See `IdRows.of`. A difference that overflows lands beyond an end, too."""
        rows: Rows = self._direct.take(_integers(ids) - self._before, mode="clip").astype(np.int64)
        return rows


class SparseIds(IntegerIds):
    """Three reads, of which at most one is the id that was asked for."""

    def __init__(self, table: str, ids: NDArray[np.int64], derived: Mapping[str, Array]) -> None:
        super().__init__(table, ids, derived)
        self._slots = np.asarray(derived[f"{table}.slots"])
        self._odd = np.array(derived[f"{table}.multipliers"]).view(np.uint64)

    def of(self, ids: Ids) -> Rows:
        """See `IdRows.of`."""
        wanted = _integers(ids)
        rows = self._slots.take(places(wanted.view(np.uint64), self._odd, len(self._slots)))
        there = self._ids.take(rows - 1, mode="clip") == wanted  # row 0 of an empty slot stays 0 whatever it meets
        found: Rows = np.maximum.reduce(rows * there, axis=0).astype(np.int64)
        return found


def _integers(ids: Ids) -> NDArray[np.int64]:
    wanted = np.asarray(ids)
    if wanted.dtype == np.int64 and wanted.ndim == 1:
        return wanted
    if wanted.size == 0:
        return np.zeros(0, np.int64)
    if wanted.dtype.kind not in "iu" or wanted.ndim != 1 or wanted.max() > _INTEGERS.max:
        raise ValueError(f"this version's ids are integers of 64 bits, given is {reprlib.repr(ids)}")
    return wanted.astype(np.int64)

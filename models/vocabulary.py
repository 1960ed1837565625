"""Vocabulary: which row of an embedding table belongs to which id. Rows are numbered from 1; row 0 is the cold row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.interactions import Ids
from models.lookup import find

_DTYPES: dict[str, np.dtype[Any]] = {"int": np.dtype(np.int64), "string": np.dtype(object)}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Distinct ids in order of birth: `ids[r - 1]` owns row `r`. Row 0, the cold row, stands for every unknown id.

    Ids only join: a row number, once given, is never given to another id.
    """

    ids: Ids

    @staticmethod
    def empty(kind: str) -> Vocabulary:
        """No ids yet; `kind` is "int" or "string". Raises ValueError for another kind."""
        if kind not in _DTYPES:
            raise ValueError(f"ids are 'int' or 'string', not {kind!r}")
        return Vocabulary(np.empty(0, _DTYPES[kind]))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """Rows of a table that has one for every id and the cold one."""
        return len(self.ids) + 1

    def rows(self, ids: Ids) -> NDArray[np.int32]:
        """Row numbers of `ids`, int32 [len(ids)], 0 where an id is unknown. Raises ValueError for another type."""
        self._check(ids)
        return self._looked_up(ids)

    def extended(self, ids: Ids) -> Vocabulary:
        """This vocabulary with the unknown ones of `ids` appended in order of first appearance."""
        return self.encoded(ids)[0]

    def encoded(self, ids: Ids) -> tuple[Vocabulary, NDArray[np.int32]]:
        """`extended(ids)` and the rows of `ids` in it, with one lookup for both."""
        self._check(ids)
        rows = self._looked_up(ids)
        unknown = np.flatnonzero(rows == 0)
        if not len(unknown):
            return self, rows
        born, first, which = np.unique(ids[unknown], return_index=True, return_inverse=True)
        order = np.argsort(first)
        row_of = np.empty(len(born), np.int32)
        row_of[order] = np.arange(self.size, self.size + len(born), dtype=np.int32)
        rows[unknown] = row_of[which.reshape(-1)]
        grown = Vocabulary(np.concatenate([self.ids, born[order]]))
        # The grown index is merged from this one: sorting every id again would cost more than all lookups of a period.
        index, index_rows = self._index
        at = np.searchsorted(index, born)
        grown.__dict__["_index"] = (np.insert(index, at, born), np.insert(index_rows, at, row_of))
        return grown, rows

    @cached_property
    def _index(self) -> tuple[Ids, NDArray[np.int32]]:
        """The ids in sorted order, and their rows."""
        order = np.argsort(self.ids, kind="stable")
        return self.ids[order], (order + 1).astype(np.int32)

    def _looked_up(self, ids: Ids) -> NDArray[np.int32]:
        index, index_rows = self._index
        at, there = find(index, ids)
        rows = np.zeros(len(ids), np.int32)
        rows[there] = index_rows[at[there]]
        return rows

    def _check(self, ids: Ids) -> None:
        if ids.dtype != self.ids.dtype:
            raise ValueError(f"ids are {ids.dtype}, those of this vocabulary {self.ids.dtype}")

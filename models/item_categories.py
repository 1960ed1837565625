"""Which categories an item has: those of its latest interaction, for every item known so far."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.interactions import Categories
from models.ragged import positions
from models.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class ItemCategories:
    """The categories of n item rows; row 0 and the rows from n on have none.

    rows: int32 [total], rows of the category vocabulary, item after item and ascending within an item; offsets: int64
    [n + 1], where each item's begin and the last one's end; times: int64 [n], event time of the interaction that said
    so. Latest is the interaction with the largest event time; among equal ones the last in canonical order, and one of
    a later period comes after one of an earlier.
    """

    rows: NDArray[np.int32]
    offsets: NDArray[np.int64]
    times: NDArray[np.int64]

    @staticmethod
    def none() -> ItemCategories:
        """Before the first period, and for ever in a run without categories."""
        return ItemCategories(np.empty(0, np.int32), np.zeros(2, np.int64), np.zeros(1, np.int64))

    def __len__(self) -> int:
        return len(self.times)

    def of(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """The categories of each of `items` (int64 item rows, on the CPU) in turn, int64, and their offsets."""
        at, offsets = positions(torch.from_numpy(self.offsets), items * (items < len(self)))
        return torch.from_numpy(self.rows)[at].long(), offsets

    def after(
        self,
        known: Vocabulary,
        items: NDArray[np.int32],
        times: NDArray[np.int64],
        categories: Categories,
        size: int,
    ) -> tuple[Vocabulary, ItemCategories]:
        """The category vocabulary and the items' categories after a period; `known` is the vocabulary before it.

        items, times, categories: [n], of its interactions in canonical order; size: item rows known by its end, row 0
        included.
        """
        latest = np.full(size, np.iinfo(np.int64).min)
        latest[: len(self)] = self.times
        changed, back = np.unique(items[::-1], return_index=True)
        last = len(items) - 1 - back
        newer = times[last] >= latest[changed]  # a late row may be older than what an earlier period said
        changed, last = changed[newer], last[newer]
        latest[changed] = times[last]

        said = categories[last].tolist()
        which = {row: number for number, row in enumerate(dict.fromkeys(said))}
        grown, rows, lengths = _encoded(known, list(which))
        # Every row of the new table is one of the old table or one of the distinct things said in this period.
        source = np.arange(size)
        source[changed] = len(self) + np.fromiter((which[row] for row in said), np.int64, len(said))
        pool = np.concatenate([self.rows, rows])
        pool_offsets = np.concatenate([self.offsets, len(self.rows) + np.cumsum(lengths, dtype=np.int64)])
        at, offsets = positions(torch.from_numpy(pool_offsets), torch.from_numpy(source))
        return grown, ItemCategories(pool[at.numpy()], offsets.numpy(), latest)


def _encoded(known: Vocabulary, rows: list[tuple[Any, ...]]) -> tuple[Vocabulary, NDArray[np.int32], list[int]]:
    """The vocabulary with all that `rows` name, their row numbers ascending within each row, and the rows' lengths."""
    lengths = [len(row) for row in rows]
    names = np.fromiter(chain.from_iterable(rows), object, sum(lengths))
    grown, numbers = known.encoded(names)
    owner = np.repeat(np.arange(len(rows)), lengths)
    return grown, numbers[np.lexsort((numbers, owner))], lengths

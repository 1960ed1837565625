"""Samples: the interactions of one update period as the learner takes them (sampling.py makes them).

Every column with rows of a vocabulary is known to `rows` and `renumbered`, so that training and generators treat all
vocabularies alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import repeat
from typing import TypeVar

import torch
from torch import Tensor

from models.item_categories import ItemCategories
from models.parameters import CATEGORY, ITEM, USER, Sizes
from models.ragged import joined, positions

_NONE = torch.empty(0, dtype=torch.int64)
"""A column of categories in a run without them."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B consecutive samples.

    users, items: int64 [B], rows of the vocabularies; labels: float32 [B]; history: int64 [total], item rows of all
    samples in turn, most recent first; offsets: int64 [B + 1], where each sample's begin and the last one's end, as
    `embedding_bag` with `include_last_offset=True` takes them.
    categories, category_offsets: int64 [any] and [B + 1], category rows of each target item in turn;
    history_categories, history_category_offsets: int64 [any] and [total + 1], of each entry of `history` in turn. All
    four are empty in a run without categories.
    """

    users: Tensor
    items: Tensor
    labels: Tensor
    history: Tensor
    offsets: Tensor
    categories: Tensor = _NONE
    category_offsets: Tensor = _NONE
    history_categories: Tensor = _NONE
    history_category_offsets: Tensor = _NONE

    def __len__(self) -> int:
        return len(self.users)

    def rows(self, vocabulary: str) -> list[Tensor]:
        """All columns that look up rows of a vocabulary: int64 [any] each."""
        return _rows(self, vocabulary)


@dataclass(frozen=True, eq=False)
class Samples:
    """The n samples of one period, already shuffled: training goes through them from first to last.

    Columns as in `Batch`, with n for B; rows belong to the vocabularies that include this period.
    seen_users, seen_items: bool [n], whether user and target item were in their vocabularies before this period.
    """

    users: Tensor
    items: Tensor
    labels: Tensor
    history: Tensor
    offsets: Tensor
    seen_users: Tensor
    seen_items: Tensor
    categories: Tensor = _NONE
    category_offsets: Tensor = _NONE
    history_categories: Tensor = _NONE
    history_category_offsets: Tensor = _NONE

    @staticmethod
    def empty() -> Samples:
        """No samples, as an empty period gives."""
        none = torch.empty(0, dtype=torch.int64)
        offsets = torch.zeros(1, dtype=torch.int64)
        nobody = torch.empty(0, dtype=torch.bool)
        return Samples(none, none, torch.empty(0), none, offsets, nobody, nobody)

    @staticmethod
    def concatenate(parts: Sequence[Samples]) -> Samples:
        """All samples of `parts`, in their order; rows must belong to the same, growing, vocabularies.

        Raises ValueError when some have categories and some have not.
        """
        if len({len(part.category_offsets) > 0 for part in parts if len(part)}) > 1:
            raise ValueError("some samples have categories, the others have none")
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Samples)}
        return Samples(**{name: joined(c) if name.endswith("offsets") else torch.cat(c) for name, c in columns.items()})

    def select(self, order: Tensor) -> Samples:
        """The samples whose numbers `order` (int64) lists, in that order."""
        entries, offsets = positions(self.offsets, order)
        taken = {name: getattr(self, name)[order] for name in ("users", "items", "labels", "seen_users", "seen_items")}
        selected = Samples(**taken, history=self.history[entries], offsets=offsets)
        if not len(self.category_offsets):
            return selected
        own, category_offsets = positions(self.category_offsets, order)
        past, history_category_offsets = positions(self.history_category_offsets, entries)
        return replace(
            selected,
            categories=self.categories[own],
            category_offsets=category_offsets,
            history_categories=self.history_categories[past],
            history_category_offsets=history_category_offsets,
        )

    def with_categories(self, known: ItemCategories) -> Samples:
        """The samples (on the CPU) with the categories that `known` gives their items; those after it have none."""
        categories, category_offsets = known.of(self.items)
        history_categories, history_category_offsets = known.of(self.history)
        return replace(
            self,
            categories=categories,
            category_offsets=category_offsets,
            history_categories=history_categories,
            history_category_offsets=history_category_offsets,
        )

    def __len__(self) -> int:
        return len(self.users)

    def batches(self, size: int) -> Iterator[Batch]:
        """Slices of `size` consecutive samples (views); the last may be shorter. Raises ValueError when size < 1."""
        if size < 1:
            raise ValueError(f"a batch has at least one sample, not {size}")
        # Read once, since reading a number per batch would halt a CUDA device each time.
        borders = [*self.offsets[: len(self) : size].tolist(), len(self.history)]
        categories = self._category_batches(size, borders)
        for index, start in enumerate(range(0, len(self), size)):
            part = slice(start, start + size)
            history = _cut(self.history, self.offsets, part, borders[index : index + 2])
            yield Batch(self.users[part], self.items[part], self.labels[part], *history, *next(categories))

    def _category_batches(self, size: int, borders: Sequence[int]) -> Iterator[tuple[Tensor, ...]]:
        """The columns of categories of each batch; borders: where each one's history begins, and the last one's end."""
        if not len(self.category_offsets):
            none = (self.categories, self.category_offsets, self.history_categories, self.history_category_offsets)
            yield from repeat(none)
        own = [*self.category_offsets[: len(self) : size].tolist(), len(self.categories)]
        past = self.history_category_offsets[list(borders)].tolist()
        for index, start in enumerate(range(0, len(self), size)):
            entries = slice(borders[index], borders[index + 1])
            yield (
                *_cut(self.categories, self.category_offsets, slice(start, start + size), own[index : index + 2]),
                *_cut(self.history_categories, self.history_category_offsets, entries, past[index : index + 2]),
            )

    def to(self, device: torch.device | str) -> Samples:
        """The same samples on another device."""
        return Samples(*(getattr(self, field.name).to(device) for field in fields(self)))

    def rows(self, vocabulary: str) -> list[Tensor]:
        """All columns that look up rows of a vocabulary: int64 [any] each."""
        return _rows(self, vocabulary)

    def subjects(self, vocabulary: str) -> tuple[Tensor, Tensor]:
        """What the samples say of a vocabulary: the rows that are user, target or a category of the target of one,
        int64 [m], and its label, float32 [m]. Histories are not among them."""
        if vocabulary != CATEGORY:
            return getattr(self, _SUBJECTS[vocabulary]), self.labels
        if not len(self.category_offsets):
            return self.categories, self.labels[:0]
        return self.categories, self.labels.repeat_interleave(self.category_offsets.diff())


AnySamples = TypeVar("AnySamples", Batch, Samples)

_LOOKUPS = {USER: ("users",), ITEM: ("items", "history"), CATEGORY: ("categories", "history_categories")}
"""Vocabulary -> the columns with its rows."""

_SUBJECTS = {USER: "users", ITEM: "items"}
"""Vocabulary -> the column with the row that a sample is about."""


def renumbered(samples: AnySamples, places: Mapping[str, Tensor]) -> AnySamples:
    """The same samples with other row numbers: row r of a vocabulary becomes places[vocabulary][r].

    A vocabulary that is not in `places` keeps its numbers.
    """
    columns = {name: places[of].index_select(0, getattr(samples, name)) for of in places for name in _LOOKUPS[of]}
    return replace(samples, **columns)


def shifted(batch: Batch) -> Batch:
    """The same samples with every row number one higher, so that 0 is none of them."""
    return replace(batch, **{name: getattr(batch, name) + 1 for names in _LOOKUPS.values() for name in names})


def known_rows(samples: Samples, sizes: Sizes) -> Samples:
    """The samples as a model with tables of these sizes sees them: ids born after it are on the cold row 0."""
    columns = {}
    for vocabulary, size in sizes.items():
        for name in _LOOKUPS[vocabulary]:
            rows = getattr(samples, name)
            columns[name] = rows * (rows < size)
    return replace(samples, **columns)


def _rows(samples: Batch | Samples, vocabulary: str) -> list[Tensor]:
    return [getattr(samples, name) for name in _LOOKUPS[vocabulary]]


def _cut(entries: Tensor, offsets: Tensor, rows: slice, borders: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The consecutive `rows` of a ragged column, whose entries begin and end at `borders`."""
    low, high = borders
    return entries[low:high], offsets[rows.start : rows.stop + 1] - low

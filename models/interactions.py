"""Interactions: immutable columns of many user-item interactions, the only thing that enters `models/`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]
"""User or item ids: int64, or objects that are all `str` (fixed per run)."""

Categories = NDArray[Any]
"""One tuple of `str` a row, sorted and distinct, () where a row has none; one-dimensional, dtype object."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Columns of equal length.

    users, items: int64 or object (`str`); times: int64, event time in microseconds since the epoch;
    labels: float32, 1 = positive, 0 = negative; categories: those of each row's item as its record gave them, made by
    `category_column`, None when the run has none.
    """

    users: Ids
    items: Ids
    times: NDArray[np.int64]
    labels: NDArray[np.float32]
    categories: Categories | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.users), len(self.items), len(self.times), len(self.labels)}
        if self.categories is not None:
            if self.categories.dtype != object or self.categories.ndim != 1:
                raise ValueError("categories are no column of tuples; make them with category_column")
            lengths.add(len(self.categories))
        if len(lengths) != 1:
            raise ValueError(f"columns differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.times)

    @staticmethod
    def empty(users: str = "int", items: str = "int", categories: bool = False) -> Interactions:
        """No interactions; `users` and `items` are "int" or "string"; `categories`: with that column."""
        kinds = {"int": np.dtype(np.int64), "string": np.dtype(object)}
        return Interactions(
            np.empty(0, kinds[users]),
            np.empty(0, kinds[items]),
            np.empty(0, np.int64),
            np.empty(0, np.float32),
            np.empty(0, object) if categories else None,
        )

    @staticmethod
    def concatenate(parts: Sequence[Interactions]) -> Interactions:
        """All rows of `parts`, in their order.

        Raises ValueError when `parts` is empty, or when some have categories and some have not.
        """
        categories = [p.categories for p in parts if p.categories is not None]
        if categories and len(categories) != len(parts):
            raise ValueError(f"{len(categories)} of {len(parts)} parts have categories, the others have none")
        return Interactions(
            np.concatenate([p.users for p in parts]),
            np.concatenate([p.items for p in parts]),
            np.concatenate([p.times for p in parts]),
            np.concatenate([p.labels for p in parts]),
            np.concatenate(categories) if categories else None,
        )

    def select(self, rows: NDArray[Any] | slice) -> Interactions:
        """The rows named by an index array, a mask or a slice."""
        categories = None if self.categories is None else self.categories[rows]
        return Interactions(self.users[rows], self.items[rows], self.times[rows], self.labels[rows], categories)

    def canonical_order(self) -> NDArray[np.int64]:
        """Row numbers in canonical order: event time, user, item, label, categories (design.md, promise 2).

        Categories compare as tuples do: string by string, and a shorter one before a longer one that begins with it.
        Rows that are equal in every column are interchangeable, so the order of their numbers does not matter.
        """
        keys = (self.labels, sortable(self.items), sortable(self.users), self.times)
        return np.lexsort(keys if self.categories is None else (_ranks(self.categories), *keys))

    def canonical(self) -> Interactions:
        """The same rows in canonical order, whatever order they arrived in."""
        return self.select(self.canonical_order())

    def digest(self) -> str:
        """SHA-256 (hex) over the columns users, items, times, labels in turn, rows as they stand.

        Numbers are little-endian; a string is its UTF-8 length as 4 bytes, little-endian, then its UTF-8 bytes.
        Categories, when there are any, are one column more: of each row their number as 4 bytes, little-endian, then
        each of them as a string.
        """
        sha = hashlib.sha256()
        for column in (self.users, self.items):
            sha.update(_id_bytes(column))
        sha.update(self.times.astype("<i8").tobytes())
        sha.update(self.labels.astype("<f4").tobytes())
        if self.categories is not None:
            sha.update(_category_bytes(self.categories))
        return sha.hexdigest()


def category_column(rows: Iterable[Iterable[str]]) -> Categories:
    """The column for rows with these categories, given in any order and any number of times."""
    given = [tuple(row) for row in rows]
    distinct = {row: tuple(sorted(set(row))) for row in set(given)}  # few, and equal rows share theirs
    return np.fromiter((distinct[row] for row in given), object, len(given))


def sortable(ids: Ids) -> NDArray[np.int64]:
    """Int64 keys that sort as the ids do: integers by value, strings by their UTF-8 bytes.

    Python compares strings by code point, which is the order of their UTF-8 bytes.
    """
    if ids.dtype != object:
        return ids.astype(np.int64, copy=False)
    return np.unique(ids, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _id_bytes(ids: Ids) -> bytes:
    if ids.dtype != object:
        return ids.astype("<i8").tobytes()
    return _text_bytes(ids)


def _text_bytes(texts: Iterable[str]) -> bytes:
    return b"".join(_count_bytes(text) + text for text in [text.encode() for text in texts])


def _category_bytes(categories: Categories) -> bytes:
    distinct = {row: _count_bytes(row) + _text_bytes(row) for row in set(categories)}
    return b"".join(distinct[row] for row in categories)


def _count_bytes(things: Sized) -> bytes:
    return len(things).to_bytes(4, "little")


def _ranks(categories: Categories) -> NDArray[np.int64]:
    ranks = {row: rank for rank, row in enumerate(sorted(set(categories)))}
    return np.fromiter((ranks[row] for row in categories), np.int64, len(categories))

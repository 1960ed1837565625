"""Interactions: immutable columns of many user-item interactions, the only thing that enters `models/`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[Any]
"""User or item ids: int64, or objects that are all `str` (fixed per run)."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Columns of equal length.

    users, items: int64 or object (`str`); times: int64, event time in microseconds since the epoch;
    labels: float32, 1 = positive, 0 = negative.
    """

    users: Ids
    items: Ids
    times: NDArray[np.int64]
    labels: NDArray[np.float32]

    def __post_init__(self) -> None:
        lengths = {len(self.users), len(self.items), len(self.times), len(self.labels)}
        if len(lengths) != 1:
            raise ValueError(f"columns differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.times)

    @staticmethod
    def empty(users: str = "int", items: str = "int") -> Interactions:
        """No interactions; `users` and `items` are "int" or "string"."""
        kinds = {"int": np.dtype(np.int64), "string": np.dtype(object)}
        return Interactions(
            np.empty(0, kinds[users]), np.empty(0, kinds[items]), np.empty(0, np.int64), np.empty(0, np.float32)
        )

    @staticmethod
    def concatenate(parts: Sequence[Interactions]) -> Interactions:
        """All rows of `parts`, in their order. Raises ValueError when `parts` is empty."""
        return Interactions(
            np.concatenate([p.users for p in parts]),
            np.concatenate([p.items for p in parts]),
            np.concatenate([p.times for p in parts]),
            np.concatenate([p.labels for p in parts]),
        )

    def select(self, rows: NDArray[Any] | slice) -> Interactions:
        """The rows named by an index array, a mask or a slice."""
        return Interactions(self.users[rows], self.items[rows], self.times[rows], self.labels[rows])

    def canonical_order(self) -> NDArray[np.int64]:
        """Row numbers in canonical order: event time, user, item, label (design.md, promise 2).

        Rows that are equal in every column are interchangeable, so the order of their numbers does not matter.
        """
        return np.lexsort((self.labels, sortable(self.items), sortable(self.users), self.times))

    def canonical(self) -> Interactions:
        """The same rows in canonical order, whatever order they arrived in."""
        return self.select(self.canonical_order())

    def digest(self) -> str:
        """SHA-256 (hex) over the columns users, items, times, labels in turn, rows as they stand.

        Numbers are little-endian; a string is its UTF-8 length as 4 bytes, little-endian, then its UTF-8 bytes.
        """
        sha = hashlib.sha256()
        for column in (self.users, self.items):
            sha.update(_id_bytes(column))
        sha.update(self.times.astype("<i8").tobytes())
        sha.update(self.labels.astype("<f4").tobytes())
        return sha.hexdigest()


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
    encoded = [text.encode() for text in ids]
    return b"".join(len(text).to_bytes(4, "little") + text for text in encoded)

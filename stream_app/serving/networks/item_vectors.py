"""The vectors of items: rows of their table, beside the means of their categories where the version has these."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_app.serving.networks.network import Floats, Rows
from stream_app.serving.networks.ragged import means, positions
from stream_app.versions.tensors import Array

CATEGORY_MEANS = "items.category_means"


class ItemVectors:
    """[n, width] of rows; the cold row has no categories, and the mean of none is zeros."""

    def __init__(self, tensors: Mapping[str, Array], derived: Mapping[str, Array]) -> None:
        self._items = np.asarray(tensors["parameters.item"])
        self._categories = tensors.get("parameters.category")
        self._means = np.asarray(derived[CATEGORY_MEANS]) if CATEGORY_MEANS in derived else None
        if self._categories is not None:
            self._rows, self._offsets = tensors["item_categories.rows"], tensors["item_categories.offsets"]
        self.width = self._items.shape[1] * (1 if self._categories is None else 2)

    def of(self, rows: Rows | slice) -> Floats:
        """Of a slice without categories they are a view."""
        items: Floats = self._items[rows] if isinstance(rows, slice) else self._items.take(rows, axis=0)
        return items if self._categories is None else np.concatenate([items, self.category_means(rows)], axis=1)

    def category_means(self, rows: Rows | slice) -> Floats:
        """[n, d] of rows, as they were kept or from the categories."""
        if self._means is not None:
            return self._means[rows]
        assert self._categories is not None
        own = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        starts = self._offsets[np.maximum(own - 1, 0)]
        lengths = self._offsets[own] - starts
        return means(self._categories[self._rows[positions(starts, lengths)]], lengths)

"""What every kind of ids promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.networks.network import Rows

Ids = Sequence[Any] | NDArray[Any]


class IdRows(ABC):
    """The ids of one vocabulary and their rows, 1 for the first id; 0 is the row of any id that is not there."""

    @abstractmethod
    def __len__(self) -> int:
        """How many ids there are."""

    @abstractmethod
    def of(self, ids: Ids) -> Rows:
        """Int64 [len(ids)]. Raises ValueError for ids of another type: silently cold would be silently wrong."""

    def of_both(self, first: Ids, second: Ids) -> tuple[Rows, Rows]:
        """`of` each; one search takes little longer than the shorter of two."""
        if not len(first):
            return np.zeros(0, np.int64), self.of(second)
        rows = self.of(self._joined(first, second))
        return rows[: len(first)], rows[len(first) :]

    @abstractmethod
    def _joined(self, first: Ids, second: Ids) -> Ids:
        """Both in one column, each of the right type by itself. Raises as `of`."""

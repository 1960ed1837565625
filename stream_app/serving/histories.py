"""The histories that a version carries: each user's most recent positive items by the end of its period."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stream_app.serving.networks.network import Rows
from stream_app.serving.networks.ragged import positions
from stream_app.versions.columns import HISTORIES_UNTIL, ids_of_rows
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import Array


class OwnHistory(NamedTuple):
    """What a version says of one user. items: ids, most recent first; newest: how many of these, the first ones, are of
    the very time `until` which the histories go (`VersionHistories.until`)."""

    items: list[Any]
    newest: int


class VersionHistories:
    """Of one version, checked by whoever gave it out.

    until: the largest event time in there, in microseconds. Positives after it are in none of them.
    """

    def __init__(self, version: ModelVersion) -> None:
        self.until = int(version.content.learning[HISTORIES_UNTIL] or 0)
        self._tensors = version.tensors
        self._rows, self._offsets, self._newest = (
            version.tensors[f"histories.{name}"] for name in ("rows", "offsets", "newest")
        )

    @staticmethod
    def of(version: ModelVersion) -> VersionHistories | None:
        """None where the version carries none."""
        return VersionHistories(version) if version.content.format == 3 else None

    def rows(self, users: Rows) -> tuple[Rows, Rows]:
        """The item rows of each of these user rows in turn, and the offsets where each one's begin, [users + 1].

        Row 0, which stands for unknown users, has none.
        """
        begins = self._offsets[np.maximum(users - 1, 0)]
        lengths = self._offsets[users] - begins
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return self._rows[positions(begins, lengths)].astype(np.int64), offsets

    def row(self, user: int) -> Rows:
        """Those of one user row."""
        return self._of(user).astype(np.int64)

    def of_user(self, row: int) -> OwnHistory:
        """That of one user row, as ids."""
        items = ids_of_rows("items", self._tensors, self._of(row))
        return OwnHistory(items, int(self._newest[row - 1]) if row else 0)

    def _of(self, user: int) -> Array:
        return self._rows[self._offsets[max(user - 1, 0)] : self._offsets[user]]

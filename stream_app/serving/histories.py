"""The histories that a version carries: each user's most recent positive items by the end of its period."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stream_app.serving.networks.network import Rows
from stream_app.versions.columns import HISTORIES_UNTIL, ids_of_rows
from stream_app.versions.model_version import ModelVersion


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
        before = np.maximum(users - 1, 0)
        begins = self._offsets[before]
        lengths = self._offsets[before + (users > 0)] - begins
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(begins - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self._rows[at].astype(np.int64), offsets

    def of_user(self, row: int) -> OwnHistory:
        """That of one user row, as ids."""
        if row == 0:
            return OwnHistory([], 0)
        begin, end = self._offsets[row - 1], self._offsets[row]
        return OwnHistory(ids_of_rows("items", self._tensors, self._rows[begin:end]), int(self._newest[row - 1]))

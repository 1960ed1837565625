"""ServingModel: probabilities from a version, by ids.

    model = ServingModel(version)
    model.score(user, items)                          one user, many items: float32 [items]
    model.score(user, items, history)                 history: ids of items, most recent first
    model.score_pairs(users, items, histories)        many users, one item each: float32 [pairs]

Ids become rows here, and the version's network (numpy's, unless another one is given) computes with these, in float32
as in training. Of a history the 30 most recent ids count. An id that the version does not know takes the one cold row
(row 0) of its table, in a history too. Where the version has categories it says which an item has, so that ids are all
that is asked for. Where it carries histories they count for every user whose history is not given; `()` is none.
Immutable: one model may serve from any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.computing import NumpyServing
from stream_app.serving.histories import OwnHistory, VersionHistories
from stream_app.serving.networks.network import Floats, Lookups, Network, Rows
from stream_app.versions.columns import HISTORY, ids_from_tensors
from stream_app.versions.model_version import ModelVersion

_BLOCK = 16_384  # pairs at a time: keeps a million histories of 30 from becoming one array of 1 GB

Ids = Sequence[Any] | NDArray[Any]
Histories = Sequence[Sequence[Any]] | tuple[NDArray[Any], NDArray[np.int64]]
"""One sequence of ids a pair; or all of them joined, with the offsets where each begins ([pairs + 1], the first 0)."""


class ServingModel:
    """A version ready to score. `version` keeps its identity: number, digest, content."""

    def __init__(self, version: ModelVersion, network: Network | None = None) -> None:
        """`version` has passed the checks of what serves it (every version out of an `Assembler` has)."""
        self.version = version
        self._network = network or NumpyServing().network(version)
        self._histories = VersionHistories.of(version)
        self._users, self._items = (_Rows(ids_from_tensors(table, version.tensors)) for table in ("users", "items"))

    def knows_user(self, user: Any) -> bool:
        """Whether the user was seen in training; all others are scored with the same cold row."""
        return bool(self._users.of([user])[0])

    def knows_item(self, item: Any) -> bool:
        """Whether the item was seen in training."""
        return bool(self._items.of([item])[0])

    @property
    def histories(self) -> VersionHistories | None:
        """Those that the version carries."""
        return self._histories

    def own_history(self, user: Any) -> OwnHistory:
        """What the version itself says of a user; nothing where it carries no histories or does not know the user."""
        return OwnHistory([], 0) if self._histories is None else self._histories.of_user(int(self._users.of([user])[0]))

    def score(self, user: Any, items: Ids, history: Sequence[Any] | None = None) -> Floats:
        """Probabilities, float32 [len(items)], that `user` likes each of `items`. history: None for the version's own.

        Raises ValueError on ids of another type.
        """
        user_row = self._users.of([user])
        if history is None:
            recent, offsets = self._own_rows(user_row)
        else:
            recent = self._items.of(history[:HISTORY])
            offsets = np.array([0, len(recent)], np.int64)
        return self._network.probabilities(Lookups(user_row, self._items.of(items), recent, offsets))

    def score_pairs(self, users: Ids, items: Ids, histories: Histories | None = None) -> Floats:
        """Probabilities, float32 [pairs], of (users[i], items[i]) given histories[i]; None: the version's own.

        Raises ValueError when the columns differ in length or an id is not of the version's type.
        """
        return self._by_blocks(self._network.probabilities, users, items, histories)

    def logits(self, users: Ids, items: Ids, histories: Histories | None = None) -> Floats:
        """As `score_pairs` before the sigmoid: for metrics, where probabilities near 0 and 1 have lost their
        differences.
        """
        return self._by_blocks(self._network.logits, users, items, histories)

    def _by_blocks(
        self, compute: Callable[[Lookups], Floats], users: Ids, items: Ids, histories: Histories | None
    ) -> Floats:
        user_rows, item_rows = self._users.of(users), self._items.of(items)
        if histories is None:
            recent, offsets = self._own_rows(user_rows)
        else:
            flat, offsets = _columns(histories)
            recent, offsets = _recent(self._items.of(flat), offsets)
        if not len(user_rows) == len(item_rows) == len(offsets) - 1:
            raise ValueError(f"{len(user_rows)} users, {len(item_rows)} items and {len(offsets) - 1} histories")
        pairs = Lookups(user_rows, item_rows, recent, offsets)
        found = np.empty(len(user_rows), np.float32)
        for begin, end in _blocks(len(user_rows)):
            found[begin:end] = compute(pairs.pairs(begin, end))
        return found

    def _own_rows(self, users: Rows) -> tuple[Rows, Rows]:
        """Item rows of the histories that the version has of these user rows, and where each one's begin."""
        if self._histories is None:
            return np.zeros(0, np.int64), np.zeros(len(users) + 1, np.int64)
        return self._histories.rows(users)


class _Rows:
    """Id -> row of a table, 1 for the first id; 0 for ids that are not there."""

    def __init__(self, ids: NDArray[Any]) -> None:
        self._by_text = {text: row for row, text in enumerate(ids, 1)} if ids.dtype == object else None
        self._order = np.argsort(ids) if self._by_text is None else np.empty(0, np.int64)
        self._sorted = ids[self._order]

    def of(self, ids: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Int64 [len(ids)]. Raises ValueError for ids of another type: silently cold would be silently wrong."""
        if self._by_text is not None:
            texts = ids.tolist() if isinstance(ids, np.ndarray) else ids
            if not all(isinstance(text, str) for text in texts):
                raise ValueError("this version's ids are strings")
            return np.fromiter((self._by_text.get(text, 0) for text in texts), np.int64, len(texts))
        wanted = np.asarray(ids)
        if wanted.size == 0:
            return np.zeros(0, np.int64)
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1 or wanted.max() > np.iinfo(np.int64).max:
            raise ValueError("this version's ids are integers of 64 bits")
        if len(self._sorted) == 0:
            return np.zeros(len(wanted), np.int64)
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[places] == wanted, self._order[places] + 1, 0)


def _columns(histories: Histories) -> tuple[Any, NDArray[np.int64]]:
    if isinstance(histories, tuple) and len(histories) == 2 and isinstance(histories[1], np.ndarray):
        flat, offsets = histories
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(flat) or np.any(offsets[1:] < offsets[:-1]):
            raise ValueError("offsets of histories do not rise from 0 to the number of ids")
        return flat, offsets.astype(np.int64, copy=False)
    offsets = np.zeros(len(histories) + 1, np.int64)
    np.cumsum([len(history) for history in histories], out=offsets[1:])
    return [item for history in histories for item in history], offsets


def _recent(rows: NDArray[np.int64], offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first 30 rows from each offset on, and the offsets of what is left."""
    lengths = np.minimum(np.diff(offsets), HISTORY)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    taken = np.repeat(offsets[:-1] - ends[:-1], lengths) + np.arange(ends[-1])
    return rows[taken], ends


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, count, _BLOCK):
        yield begin, min(begin + _BLOCK, count)

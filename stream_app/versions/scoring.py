"""ServingModel: probabilities from a version with numpy alone.

    model = ServingModel(version)
    model.score(user, items)                          one user, many items: float32 [items]
    model.score(user, items, history)                 history: ids of items, most recent first
    model.score_pairs(users, items, histories)        many users, one item each: float32 [pairs]

The base model is Embedding & MLP: [user ; mean of the history's items ; item] -> ReLU layers -> one logit -> sigmoid,
in float32 as in training. Of a history the 30 most recent ids count. An id that the version does not know takes the
one cold row (row 0) of its table, in a history too. Where the version has categories, an item's vector is followed by
the mean of its categories' (zeros without any, and for an unknown item), in a history too: the version says which an
item has, so that ids are all that is asked for. Immutable: one model may serve from any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.versions.columns import ids_from_tensors, item_categories_from_tensors
from stream_app.versions.fitness import layers
from stream_app.versions.model_version import ModelVersion

HISTORY = 30
_BLOCK = 16_384  # pairs at a time: keeps a million histories of 30 from becoming one array of 1 GB

Floats = NDArray[np.float32]
Histories = Sequence[Sequence[Any]] | tuple[NDArray[Any], NDArray[np.int64]]
"""One sequence of ids a pair; or all of them joined, with the offsets where each begins ([pairs + 1], the first 0)."""


class ServingModel:
    """A version ready to score. `version` keeps its identity: number, digest, content."""

    def __init__(self, version: ModelVersion) -> None:
        """`version` has passed `fitness` (every version out of an `Assembler` has)."""
        self.version = version
        tensors = version.tensors
        self._users, self._items = (_Rows(ids_from_tensors(table, tensors)) for table in ("users", "items"))
        self._user, self._item = tensors["parameters.user"], _item_vectors(version)
        self._layers = [
            (tensors[f"parameters.w{n}"], tensors[f"parameters.b{n}"]) for n in range(1, layers(tensors) + 1)
        ]

    def knows_user(self, user: Any) -> bool:
        """Whether the user was seen in training; all others are scored with the same cold row."""
        return bool(self._users.of([user])[0])

    def knows_item(self, item: Any) -> bool:
        """Whether the item was seen in training."""
        return bool(self._items.of([item])[0])

    def score(self, user: Any, items: Sequence[Any] | NDArray[Any], history: Sequence[Any] | None = None) -> Floats:
        """Probabilities, float32 [len(items)], that `user` likes each of `items`.

        Raises ValueError on ids of another type.
        """
        recent = self._item[self._items.of(() if history is None else history[:HISTORY])]
        mean = recent.mean(axis=0, keepdims=True) if len(recent) else np.zeros_like(self._item[:1])
        return sigmoid(self._mlp(self._user[self._users.of([user])], mean, self._item[self._items.of(items)]))

    def score_pairs(
        self,
        users: Sequence[Any] | NDArray[Any],
        items: Sequence[Any] | NDArray[Any],
        histories: Histories | None = None,
    ) -> Floats:
        """Probabilities, float32 [pairs], of (users[i], items[i]) given histories[i]; None: nobody has a history."""
        return sigmoid(self.logits(users, items, histories))

    def logits(
        self,
        users: Sequence[Any] | NDArray[Any],
        items: Sequence[Any] | NDArray[Any],
        histories: Histories | None = None,
    ) -> Floats:
        """As `score_pairs` before the sigmoid: for metrics, where probabilities near 0 and 1 have lost their
        differences.

        Raises ValueError when the columns differ in length or an id is not of the version's type.
        """
        user_rows, item_rows = self._users.of(users), self._items.of(items)
        flat, offsets = _columns(histories, len(user_rows))
        if not len(user_rows) == len(item_rows) == len(offsets) - 1:
            raise ValueError(f"{len(user_rows)} users, {len(item_rows)} items and {len(offsets) - 1} histories")
        history_rows = self._items.of(flat)
        logits = np.empty(len(user_rows), np.float32)
        for block in _blocks(len(user_rows)):
            means = self._means(history_rows, offsets[block.start : block.stop + 1])
            logits[block] = self._mlp(self._user[user_rows[block]], means, self._item[item_rows[block]])
        return logits

    def _means(self, rows: NDArray[np.int64], offsets: NDArray[np.int64]) -> Floats:
        """Mean item vector [len(offsets) - 1, width] of the first 30 rows from each offset on; zeros if none."""
        lengths = np.minimum(np.diff(offsets), HISTORY)
        ends = np.cumsum(lengths)
        taken = np.repeat(offsets[:-1] - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
        return _means(self._item[rows[taken]], lengths)

    def _mlp(self, user: Floats, history: Floats, item: Floats) -> Floats:
        """Logits [n] for vectors [n or 1, width] each; what the first layer has in common for all is done once."""
        weights, biases = self._layers[0]
        of_user, of_history, of_item = np.split(weights, [user.shape[1], user.shape[1] + item.shape[1]])
        hidden: Floats = (user @ of_user + history @ of_history + biases) + item @ of_item
        for weights, biases in self._layers[1:]:
            hidden = np.maximum(hidden, np.float32(0)) @ weights + biases
        return hidden[:, 0]


def _item_vectors(version: ModelVersion) -> Floats:
    """[items + 1, d], with categories [items + 1, 2 d]: each item beside the mean of its categories."""
    tensors, items = version.tensors, version.tensors["parameters.item"]
    if version.content.vocabulary.categories is None:
        return items
    table = tensors["parameters.category"]
    rows, offsets = item_categories_from_tensors(tensors, len(table) - 1)
    cold = np.zeros((1, table.shape[1]), np.float32)
    return np.concatenate([items, np.concatenate([cold, _means(table[rows], np.diff(offsets))])], axis=1)


def _means(vectors: Floats, lengths: NDArray[np.int64]) -> Floats:
    """Mean [len(lengths), width] of the first so many vectors, of the next so many, ...; zeros where that is none."""
    means = np.zeros((len(lengths), vectors.shape[1]), np.float32)
    some = lengths > 0  # reduceat would give an empty segment the value of its neighbour
    if some.any():
        sums = np.add.reduceat(vectors, (np.cumsum(lengths) - lengths)[some], axis=0)
        means[some] = sums / lengths[some, None].astype(np.float32)
    return means


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)) in float32; a logit below -88 gives 0 (its exponential overflows, as it should)."""
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-logits))


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


def _columns(histories: Histories | None, pairs: int) -> tuple[Any, NDArray[np.int64]]:
    if histories is None:
        return (), np.zeros(pairs + 1, np.int64)
    if isinstance(histories, tuple) and len(histories) == 2 and isinstance(histories[1], np.ndarray):
        flat, offsets = histories
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(flat) or np.any(offsets[1:] < offsets[:-1]):
            raise ValueError("offsets of histories do not rise from 0 to the number of ids")
        return flat, offsets.astype(np.int64, copy=False)
    offsets = np.zeros(len(histories) + 1, np.int64)
    np.cumsum([len(history) for history in histories], out=offsets[1:])
    return [item for history in histories for item in history], offsets


def _blocks(count: int) -> Iterator[slice]:
    for begin in range(0, count, _BLOCK):
        yield slice(begin, min(begin + _BLOCK, count))

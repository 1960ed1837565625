"""ServingModel: probabilities from a version, by ids.

    model = ServingModel(version)
    model.score(user, items)                          one user, many items: float32 [items]
    model.score(user, items, history)                 history: ids of items, most recent first
    model.score_pairs(users, items, histories)        many users, one item each: float32 [pairs]
    model.recommend(user, 10, exclude=seen)           the best items of all, with their probabilities

Ids become rows here, and the version's network (numpy's, unless another one is given) computes with these, in float32
as in training. Of a history the 30 most recent ids count. An id that the version does not know takes the one cold row
(row 0) of its table, in a history too. Where the version has categories it says which an item has, so that ids are all
that is asked for. Where it carries histories they count for every user whose history is not given; `()` is none.
Immutable: one model may serve from any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from stream_app.serving.best import best
from stream_app.serving.computing import NumpyServing
from stream_app.serving.derived import derived as derived_from
from stream_app.serving.given_histories import Histories, joined, recent
from stream_app.serving.histories import OwnHistory, VersionHistories
from stream_app.serving.ids import Ids, id_rows
from stream_app.serving.networks.network import BLOCK, Floats, ForUser, Lookups, Network, Rows
from stream_app.versions.columns import HISTORY, ids_of_rows
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import Array

_NONE, _COLD = np.zeros(0, np.int64), np.zeros(1, np.int64)
_PAIRS = 16_384  # at a time: keeps a million histories of 30 from becoming one array of 1 GB


class Recommended(NamedTuple):
    """The best items, best first, and their probabilities, float32 [as many]."""

    items: list[Any]
    probabilities: Floats


class ServingModel:
    """A version ready to score. `version` keeps its identity: number, digest, content; `derived` are the arrays that
    were made of it at load."""

    def __init__(
        self, version: ModelVersion, network: Network | None = None, derived: Mapping[str, Array] | None = None
    ) -> None:
        """`version` has passed the checks of what serves it (every version out of an `Assembler` has).

        derived: what `stream_app.serving.derived` made of this very version, maybe in another process.
        """
        self.version = version
        self.derived = derived_from(version) if derived is None else derived
        self._network = (network or NumpyServing().network(version)).given(self.derived)
        self._users, self._items = (id_rows(table, version.tensors, self.derived) for table in ("users", "items"))
        self._histories = VersionHistories.of(version)

    def __repr__(self) -> str:
        """For logs."""
        return f"<ServingModel of version {self.version.number} {self.version.digest[:12]}>"

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
        """Probabilities, float32 [len(items)], that `user` likes each of `items`.

        history: ids of items, most recent first; () says that there is none, None takes the version's own of that user.
        Raises ValueError on ids of another type.
        """
        for_user, rows = self._for_user(user, history, items)
        if len(rows) <= BLOCK:
            return for_user.probabilities(for_user.order(rows))
        parts = [for_user.order(rows[begin : begin + BLOCK]) for begin in range(0, len(rows), BLOCK)]
        return for_user.probabilities(np.concatenate(parts))

    def recommend(
        self,
        user: Any,
        k: int,
        among: Ids | None = None,
        exclude: Ids | Set[Any] = (),
        history: Sequence[Any] | None = None,
    ) -> Recommended:
        """The k items that `user` most probably likes, best first; fewer if there are no more.

        among: the only ones that count; one that the version does not know is scored with the cold row, and one given
        twice counts once. Without it, all that the version knows. exclude: never these. history: as in `score`. Of
        items that are equally good the one that the version knew first comes first, before these the unknown ones as
        they stand in `among`: the answer is a function of version and arguments. Items whose probability is not a
        number (parameters so large that they overflow) are left out. Raises ValueError on ids of another type, or k
        below 0.
        """
        if not isinstance(k, int | np.integer) or k < 0:
            raise ValueError(f"k is {k!r}, must be a whole number, 0 or more")
        for_user, _ = self._for_user(user, history, ())
        excluded = list(exclude) if isinstance(exclude, Set) else exclude
        without = np.unique(self._items.of(excluded))
        if among is None:
            rows, numbers = best(for_user.order, slice(1, len(self._items) + 1), k, without)
            return Recommended(self._ids(rows), for_user.probabilities(numbers))
        rows, unknown = self._among(among, excluded, without)
        rows, numbers = best(for_user.order, rows, k, _NONE)
        many = np.where(rows == 0, len(unknown), 1)  # they share a row
        rows, numbers = np.repeat(rows, many)[:k], np.repeat(numbers, many)[:k]
        known, cold = iter(self._ids(rows[rows > 0])), iter(unknown)
        return Recommended([next(known if row else cold) for row in rows.tolist()], for_user.probabilities(numbers))

    def score_pairs(self, users: Ids, items: Ids, histories: Histories | None = None) -> Floats:
        """Probabilities, float32 [pairs], of (users[i], items[i]) given histories[i]; None: the version's own of each
        user, if it carries any.

        Raises ValueError when the columns differ in length or an id is not of the version's type.
        """
        return self._by_blocks(self._network.probabilities, users, items, histories)

    def logits(self, users: Ids, items: Ids, histories: Histories | None = None) -> Floats:
        """As `score_pairs` before the sigmoid: for metrics, where probabilities near 0 and 1 have lost their
        differences.
        """
        return self._by_blocks(self._network.logits, users, items, histories)

    def _for_user(self, user: Any, history: Sequence[Any] | None, items: Ids) -> tuple[ForUser, Rows]:
        """What scores for this user, and the rows of the items."""
        row = self._users.of([user])
        recent, rows = self._items.of_both(() if history is None else history[:HISTORY], items)
        if history is None and self._histories is not None:
            recent = self._histories.row(int(row[0]))
        return self._network.for_user(int(row[0]), recent), rows

    def _among(self, among: Ids, exclude: Ids, without: Rows) -> tuple[Rows, list[Any]]:
        """The rows of `among` that are left, rising, each once; and its ids that are not known, which share row 0."""
        asked, excluded = self._items.of(among), set(exclude)
        given = among.tolist() if isinstance(among, np.ndarray) else among
        cold = dict.fromkeys(given[at] for at in np.flatnonzero(asked == 0).tolist())
        unknown = [id for id in cold if id not in excluded]
        known = np.setdiff1d(asked, np.append(without, 0))
        return np.concatenate((_COLD, known)) if unknown else known, unknown

    def _ids(self, rows: Rows) -> list[Any]:
        return ids_of_rows("items", self.version.tensors, rows)

    def _by_blocks(
        self, compute: Callable[[Lookups], Floats], users: Ids, items: Ids, histories: Histories | None
    ) -> Floats:
        user_rows, item_rows = self._users.of(users), self._items.of(items)
        pairs: Callable[[int, int], Lookups] = partial(self._own_pairs, user_rows, item_rows)
        given = len(user_rows)
        if histories is not None:
            ids, offsets = joined(histories)
            pairs = Lookups(user_rows, item_rows, *recent(self._items.of(ids), offsets)).pairs
            given = len(offsets) - 1
        if not len(user_rows) == len(item_rows) == given:
            raise ValueError(f"{len(user_rows)} users, {len(item_rows)} items and {given} histories")
        found = np.empty(len(user_rows), np.float32)
        for begin in range(0, len(user_rows), _PAIRS):
            end = min(begin + _PAIRS, len(user_rows))
            found[begin:end] = compute(pairs(begin, end))
        return found

    def _own_pairs(self, users: Rows, items: Rows, begin: int, end: int) -> Lookups:
        """The pairs from `begin` to `end`, with the histories that the version itself has."""
        users, items = users[begin:end], items[begin:end]
        if self._histories is None:
            return Lookups(users, items, _NONE, np.zeros(len(users) + 1, np.int64))
        return Lookups(users, items, *self._histories.rows(users))

"""Sampling: what an update period's interactions give the learner, with histories, negatives and categories.

Rules (algorithms, "Samples"):
1. A history holds items that were positive strictly earlier in event time, the last 30, most recent first.
2. A negative is uniform over the items seen by the period's end that its user has not been positive on up to and
   including now; it shares user, time and history of its positive.
3. An item has the categories of its latest interaction by the period's end, wherever it stands: as a target, drawn as
   a negative, in a history.
4. Nothing of a later period can change an earlier one: the state goes one way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.histories import LENGTH, Sequences, sequences
from models.interactions import Interactions
from models.item_categories import ItemCategories
from models.negatives import Taken, draw_negatives
from models.parameters import CATEGORY, ITEM, USER, Sizes
from models.samples import Samples
from models.vocabulary import Vocabulary

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, eq=False)
class SamplerState:
    """What sampling has to remember between periods; U users, row 0 of every table unused.

    history_items: int32 [U + 1, 30], the 30 newest positive items of each user, most recent first, padded with 0;
    history_times: int64 [U + 1, 30], their event times; pairs: int64 sorted, user row << 32 | item row of positives.
    categories, item_categories: of a run with categories those that items have or had, and the items' present ones.
    """

    users: Vocabulary
    items: Vocabulary
    history_items: NDArray[np.int32]
    history_times: NDArray[np.int64]
    pairs: NDArray[np.int64]
    categories: Vocabulary
    item_categories: ItemCategories

    @staticmethod
    def start(users: str = "int", items: str = "int") -> SamplerState:
        """Before the first period; `users` and `items` are "int" or "string", the type of the ids."""
        return SamplerState(
            users=Vocabulary.empty(users),
            items=Vocabulary.empty(items),
            history_items=np.zeros((1, LENGTH), np.int32),
            history_times=np.zeros((1, LENGTH), np.int64),
            pairs=np.empty(0, np.int64),
            categories=Vocabulary.empty("string"),
            item_categories=ItemCategories.none(),
        )

    @property
    def sizes(self) -> Sizes:
        """Rows of each vocabulary's tables."""
        return {USER: self.users.size, ITEM: self.items.size, CATEGORY: self.categories.size}


def sample(
    state: SamplerState,
    interactions: Interactions,
    negatives: int,
    draw: np.random.Generator,
    shuffle: np.random.Generator,
) -> tuple[SamplerState, Samples]:
    """Samples of the next period, and the state after it; `state` stays as it was.

    interactions: in canonical order; label > 0.5 is positive; categories change nothing but the samples' categories.
    `draw` draws `negatives` items for each positive, `shuffle` the training order. Raises ValueError for negatives < 0,
    rows not in order of time, ids of another type.
    """
    if negatives < 0:
        raise ValueError(f"negatives per positive cannot be {negatives}")
    times = interactions.times
    if bool((times[1:] < times[:-1]).any()):
        raise ValueError("interactions are not in canonical order")
    users, user = state.users.encoded(interactions.users)
    items, item = state.items.encoded(interactions.items)
    if not len(interactions):
        return state, Samples.empty()
    positive = interactions.labels > 0.5
    history_items, history_times = _grown(state.history_items, users.size), _grown(state.history_times, users.size)
    found = sequences(history_items, history_times, user, item, times, positive)
    history_items[found.users], history_times[found.users] = found.newest()

    taken = Taken.in_period(state.pairs, user[positive], item[positive], times[positive])
    row, target, label = np.arange(len(user)), item, interactions.labels
    if negatives:
        of, drawn = draw_negatives(taken, user[positive], times[positive], negatives, len(items), draw)
        row = np.concatenate([row, np.flatnonzero(positive)[of]])
        target = np.concatenate([target, drawn])
        label = np.concatenate([label, np.zeros(len(drawn), np.float32)])
    order = shuffle.permutation(len(row))
    samples = _samples(found, user, row[order], target[order], label[order], state.sizes)
    categories, item_categories = state.categories, state.item_categories
    if interactions.categories is not None:
        categories, item_categories = item_categories.after(
            categories, item, times, interactions.categories, items.size
        )
        samples = samples.with_categories(item_categories)
    pairs = taken.pairs()
    return SamplerState(users, items, history_items, history_times, pairs, categories, item_categories), samples


def _samples(
    found: Sequences,
    user: NDArray[np.int32],
    row: NDArray[np.int64],
    target: NDArray[np.int32],
    label: NDArray[np.float32],
    known: Sizes,
) -> Samples:
    history, offsets = found.flat(row)
    return Samples(
        users=torch.from_numpy(user[row].astype(np.int64)),
        items=torch.from_numpy(target.astype(np.int64)),
        labels=torch.from_numpy(label.astype(np.float32)),
        history=torch.from_numpy(history.astype(np.int64)),
        offsets=torch.from_numpy(offsets),
        seen_users=torch.from_numpy(user[row] < known[USER]),
        seen_items=torch.from_numpy(target < known[ITEM]),
    )


def _grown(table: NDArray[Number], rows: int) -> NDArray[Number]:
    """A copy with zeros appended up to `rows`."""
    grown = np.zeros((rows, table.shape[1]), table.dtype)
    grown[: len(table)] = table
    return grown

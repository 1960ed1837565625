"""The generated stream: well formed, reproducible, and worth learning: taste shows, and it drifts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.interactions import Interactions
from stream_app.synthetic import START, drifting_stream

DAY = 86_400_000_000


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize(("count", "users", "items"), [(1, 1, 1), (500, 3, 5), (5000, 300, 200)])
def test_it_has_the_shape_that_was_asked_for(count: int, users: int, items: int, explicit: bool) -> None:
    stream = drifting_stream(count, users, items, seed=1, explicit=explicit, days=10)
    assert len(stream) == count
    assert (stream.users.dtype, stream.items.dtype) == (np.int64, np.int64)
    assert len(np.unique(stream.users)) <= users
    assert len(np.unique(stream.items)) <= items
    assert (np.diff(stream.times) >= 0).all()
    assert not (stream.times % 1_000_000).any()
    assert stream.times[0] >= START * 1_000_000
    assert stream.times[-1] < START * 1_000_000 + 10 * DAY
    assert set(np.unique(stream.labels).tolist()) <= ({0.0, 1.0} if explicit else {1.0})


def test_same_seed_same_rows_and_another_seed_others() -> None:
    digests = [drifting_stream(2000, 100, 80, seed).digest() for seed in (5, 5, 6)]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_users_and_items_keep_appearing_and_a_few_items_have_most_rows() -> None:
    stream = drifting_stream(20_000, 1000, 500, seed=2)
    half = len(stream) // 2
    for column in (stream.users, stream.items):
        old, new = set(column[:half].tolist()), set(column[half:].tolist())
        assert len(new - old) > 0.15 * len(new)
    counts = np.sort(np.unique(stream.items, return_counts=True)[1])[::-1]
    assert counts[:50].sum() > 0.3 * len(stream)


def indexed(stream: Interactions) -> tuple[np.ndarray, np.ndarray]:
    return np.unique(stream.users, return_inverse=True)[1], np.unique(stream.items, return_inverse=True)[1]


def against_random_items(scores: np.ndarray, users: np.ndarray, items: np.ndarray) -> float:
    """AUC of scores [users, items] for these rows against as many with an item drawn uniformly."""
    others = np.random.default_rng(0).integers(0, scores.shape[1], len(items))
    values = np.concatenate([scores[users, items], scores[users, others]])
    return float(roc_auc_score(np.repeat([1, 0], len(items)), values))


def test_taste_beats_popularity_and_fresh_popularity_beats_old() -> None:
    users, items = indexed(drifting_stream(20_000, 300, 200, seed=3))
    shape = users.max() + 1, items.max() + 1
    counts = np.zeros((10, *shape))
    for part in range(9):
        chosen = slice(part * 2000, part * 2000 + 2000)
        np.add.at(counts[part], (users[chosen], items[chosen]), 1)
    fresh, old = (np.tile(counts[parts].sum((0, 1)), (shape[0], 1)) for parts in ([7, 8], [0, 1]))
    # Items that the same people choose are alike: how much more than others does a user choose what is alike?
    recent = counts[5:9].sum(0)
    alike = recent @ (recent.T @ recent) + 1.0
    lift = alike / alike.sum(1, keepdims=True) / alike.sum(0) * alike.sum()
    taste = np.log(fresh + 1) + np.log(lift)
    last = slice(18_000, 20_000)
    popularity, stale, personal = (against_random_items(one, users[last], items[last]) for one in (fresh, old, taste))
    assert personal > popularity + 0.02
    assert popularity > stale + 0.1


def test_labels_of_an_explicit_stream_depend_on_the_item_and_on_the_user() -> None:
    stream = drifting_stream(20_000, 300, 200, seed=4, explicit=True)
    assert 0.35 < stream.labels.mean() < 0.75
    first, second = stream.select(np.arange(0, 20_000, 2)), stream.select(np.arange(1, 20_000, 2))
    for column in ("users", "items"):
        ids = np.unique(getattr(stream, column))
        rates = []
        for half in (first, second):
            at = np.searchsorted(ids, getattr(half, column))
            rates.append((np.bincount(at, half.labels, len(ids)) + 1) / (np.bincount(at, minlength=len(ids)) + 2))
        assert np.corrcoef(rates)[0, 1] > 0.3


@pytest.mark.parametrize("wrong", [{"interactions": 0}, {"users": 0}, {"items": -1}, {"days": 0}])
def test_impossible_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        drifting_stream(**({"interactions": 10, "users": 5, "items": 5, "seed": 0} | wrong))  # type: ignore[arg-type]

"""The synthetic stream: well formed, reproducible, worth learning; it drifts as it was asked to; its truth is true."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from models.interactions import Interactions
from stream_app.synthetic import DRIFTS, START, GeneratedStream, SyntheticSettings, drifting_stream, generate
from stream_app.synthetic.drift import CHAPTERS, STEPS, drifting
from stream_app.synthetic.season import Season

DAY = 86_400_000_000
SMALL = SyntheticSettings(interactions=5_000, users=300, items=200)


def whole(settings: SyntheticSettings) -> GeneratedStream:
    parts = list(generate(settings))
    truth = None if settings.implicit else np.concatenate([part.probability for part in parts])
    return GeneratedStream(Interactions.concatenate([part.interactions for part in parts]), truth)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in DRIFTS), DRIFTS])
@pytest.mark.parametrize(("count", "users", "items", "days"), [(1, 1, 1, 1e-9), (500, 3, 5, 0.7), (5000, 300, 200, 10)])
def test_it_has_the_shape_that_was_asked_for(
    count: int, users: int, items: int, days: float, kinds: tuple[Any, ...], implicit: bool
) -> None:
    settings = SyntheticSettings(count, users, items, days, kinds, 1.0, 0.1, implicit)
    found = whole(settings)
    stream = found.interactions
    assert len(stream) == count
    assert (stream.users.dtype, stream.items.dtype) == (np.int64, np.int64)
    assert len(np.unique(stream.users)) <= users
    assert len(np.unique(stream.items)) <= items
    assert (np.diff(stream.times) >= 0).all()
    assert not (stream.times % 1_000_000).any()
    assert stream.times[0] >= START * 1_000_000
    assert stream.times[-1] < START * 1_000_000 + days * DAY
    assert set(np.unique(stream.labels).tolist()) <= ({1.0} if implicit else {0.0, 1.0})
    if found.probability is not None:
        assert found.probability.shape == (count,)
        assert ((found.probability >= 0.1) & (found.probability <= 0.9)).all()  # NaN is not


def test_an_implicit_stream_tells_no_probability() -> None:
    assert {part.probability for part in generate(replace(SMALL, implicit=True))} == {None}


def test_same_settings_same_rows_and_any_other_setting_other_rows() -> None:
    other = {"interactions": 5_001, "users": 301, "items": 201, "days": 31.0, "drift": ("sudden",), "strength": 0.6}
    other |= {"label_noise": 0.06, "implicit": True, "categories": True, "genres": 9, "seed": 1}
    digests = [whole(replace(SMALL, **{name: value})).interactions.digest() for name, value in other.items()]
    again = [whole(SMALL).interactions.digest() for _ in range(2)]
    assert again[0] == again[1]
    assert len({*digests, again[0]}) == len(other) + 1


def test_noise_turns_labels_round_and_changes_nothing_else() -> None:
    clean, noisy = (whole(replace(SMALL, label_noise=noise)) for noise in (0.0, 0.2))
    assert (clean.interactions.items == noisy.interactions.items).all()
    assert clean.probability is not None
    assert noisy.probability == pytest.approx(0.8 * clean.probability + 0.2 * (1 - clean.probability))


def test_users_and_items_keep_appearing_and_a_few_items_have_most_rows() -> None:
    stream = drifting_stream(20_000, 1000, 500, seed=2)
    half = len(stream) // 2
    for column in (stream.users, stream.items):
        old, new = set(column[:half].tolist()), set(column[half:].tolist())
        assert len(new - old) > 0.15 * len(new)
    counts = np.sort(np.unique(stream.items, return_counts=True)[1])[::-1]
    assert counts[:50].sum() > 0.3 * len(stream)


def test_evenings_and_weekends_are_busier() -> None:
    times = whole(replace(SMALL, interactions=40_000, days=28.0)).interactions.times
    by_hour = np.bincount(times // 3_600_000_000 % 24, minlength=24)
    assert abs(int(by_hour.argmax()) - 20) <= 1
    assert abs(int(by_hour.argmin()) - 8) <= 1
    assert by_hour[20] / by_hour[8] == pytest.approx(9, rel=0.25)
    weekday = np.bincount(np.array(times, "datetime64[us]").astype("datetime64[D]").astype(int) % 7, minlength=7)
    weekend = weekday[[2, 3]]  # 1970 began on a Thursday
    assert weekend.mean() / np.delete(weekday, [2, 3]).mean() == pytest.approx(1.5, rel=0.05)


def test_every_row_lies_within_its_step_of_the_world() -> None:
    season = Season(1.0, STEPS)
    draw = np.random.default_rng(0)
    a_step = 86_400 // STEPS
    for step in range(STEPS):
        seconds = season.times(draw, step, 5_000) // 1_000_000 - START
        assert step * a_step <= seconds[0] <= seconds[-1] < (step + 1) * a_step
    assert season.shares.sum() == pytest.approx(1.0)


class Latest(np.random.Generator):
    """Draws the largest number that can be drawn."""

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        return np.full(size, np.nextafter(high, low))


@pytest.mark.parametrize("days", [1.0, 7.0, 30.0, 365.0])
def test_the_latest_possible_row_lies_within_the_stream(days: float) -> None:
    (time,) = Season(days, STEPS).times(Latest(np.random.Philox(0)), STEPS - 1, 1)
    assert time == (START + days * 86_400 - 1) * 1_000_000


# Drift: what the labels show, by the part of an item's rows that are positive in each half of a chapter.


@cache
def halves(kinds: tuple[Any, ...], strength: float) -> np.ndarray:
    """Correlation of the items' positive parts between all pairs of half chapters: [10, 10]."""
    stream = whole(SyntheticSettings(100_000, 400, 150, 20.0, kinds, strength, 0.0, genres=30, seed=3)).interactions
    half = ((stream.times - START * 1_000_000) * 2 * CHAPTERS // (20 * DAY)).astype(int)
    items = np.unique(stream.items, return_inverse=True)[1]
    shape = 2 * CHAPTERS, items.max() + 1
    cell = half * shape[1] + items
    met = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    liked = np.bincount(cell, stream.labels, minlength=shape[0] * shape[1]).reshape(shape)
    found = np.eye(shape[0])
    for one, other in combinations(range(shape[0]), 2):
        often = (met[[one, other]] >= 25).all(axis=0)  # items appear and fade
        assert often.sum() >= 20
        parts = (liked / np.maximum(met, 1))[[one, other]][:, often]
        found[one, other] = found[other, one] = np.corrcoef(parts)[0, 1]
    return found


def mean_at(correlations: np.ndarray, pairs: list[tuple[int, int]]) -> float:
    return float(np.mean([correlations[pair] for pair in pairs]))


WITHIN = [(half, half + 1) for half in range(0, 2 * CHAPTERS, 2)]
ACROSS = [(half, half + 1) for half in range(1, 2 * CHAPTERS - 1, 2)]


def test_without_drift_preferences_stay_as_they_are() -> None:
    assert halves((), 0.5).min() > 0.7


def test_no_strength_is_no_drift() -> None:
    assert halves(DRIFTS, 0.0).min() > 0.7


def test_sudden_drift_turns_preferences_between_chapters_and_not_within() -> None:
    found = halves(("sudden",), 1.0)
    assert mean_at(found, WITHIN) > 0.8
    assert mean_at(found, ACROSS) < 0.4


def test_gradual_drift_turns_preferences_evenly() -> None:
    found = halves(("gradual",), 0.5)
    assert mean_at(found, WITHIN) == pytest.approx(mean_at(found, ACROSS), abs=0.1)
    by_distance = [float(np.diagonal(found, distance).mean()) for distance in (1, 3, 6)]
    assert by_distance[0] > by_distance[1] + 0.1 > by_distance[2] + 0.2


def test_recurring_drift_comes_back() -> None:
    found = halves(("recurring",), 1.0)
    # Chapters begin at one end and end at the other: halves 1, 2, 5, 6 and 9 lie around one, 3, 4, 7 and 8 the other.
    near_second, near_first = (1, 2, 5, 6, 9), (3, 4, 7, 8)
    same = [*combinations(near_second, 2), *combinations(near_first, 2)]
    other = [(a, b) for a in near_second for b in near_first]
    assert mean_at(found, same) > 0.8
    assert mean_at(found, other) < 0.6  # on the way between both ends: cos 58° if halves had no length


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_a_turn_leaves_the_correlation_that_its_strength_says_and_the_variance(strength: float) -> None:
    draws = np.random.default_rng(0)
    values: dict[tuple[str, int], np.ndarray] = {}

    def drawn(purpose: str, chapter: int) -> np.ndarray:
        return values.setdefault((purpose, chapter), draws.standard_normal(40_000))

    a_chapter = STEPS // CHAPTERS
    for kind in DRIFTS:
        path = list(drifting([kind], strength, drawn))
        assert len(path) == STEPS
        assert np.corrcoef(path[0], path[a_chapter])[0, 1] == pytest.approx(1 - strength, abs=0.03)
        assert [path[step].std() for step in (0, 7, a_chapter, STEPS - 1)] == pytest.approx([1.0] * 4, abs=0.03)
    assert np.corrcoef(path[0], path[2 * a_chapter])[0, 1] == pytest.approx(1.0)  # the last one recurs


# Truth.


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_of_rows_with_the_same_probability_that_part_is_positive(noise: float) -> None:
    found = whole(SyntheticSettings(50_000, 500, 200, 30.0, DRIFTS, 0.5, noise))
    truth, labels = found.probability, found.interactions.labels
    assert truth is not None
    bins = np.digitize(truth, np.linspace(noise, 1 - noise, 21)[1:-1])
    count = np.bincount(bins, minlength=20)
    assert count.min() > 500
    error = (np.bincount(bins, labels, 20) - np.bincount(bins, truth, 20)) / np.sqrt(
        np.bincount(bins, truth * (1 - truth), 20)
    )
    assert np.abs(error).max() < 3.5  # standard errors, of 20 bins
    assert np.mean(error**2) < 2.5


@pytest.mark.parametrize("bent", [lambda p: p**1.1, lambda p: 0.95 * p + 0.02, lambda p: np.full_like(p, p.mean())])
def test_no_other_prediction_has_a_lower_log_loss(bent: Any) -> None:
    found = whole(replace(SMALL, interactions=50_000))
    labels, truth = found.interactions.labels, found.probability
    assert log_loss(labels, bent(truth)) > log_loss(labels, truth) + 1e-4


# Worth learning.


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
    assert personal > popularity + 0.01
    assert popularity > stale + 0.1


def test_labels_depend_on_the_item_and_on_the_user() -> None:
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


def test_an_item_has_one_category_for_ever_and_a_user_keeps_to_some() -> None:
    stream = whole(SyntheticSettings(20_000, 300, 200, drift=(), implicit=True, categories=True)).interactions
    assert stream.categories is not None
    of_item = dict(zip(stream.items.tolist(), stream.categories, strict=True))
    assert list(stream.categories) == [of_item[item] for item in stream.items.tolist()]
    assert set(of_item.values()) == {(f"genre-{number}",) for number in range(8)}
    users, genres = np.unique(stream.users, return_inverse=True)[1], np.array([row[0][-1] for row in stream.categories])
    counts = np.bincount(users * 8 + genres.astype(int), minlength=(users.max() + 1) * 8).reshape(-1, 8)
    assert (counts.max(axis=1) / counts.sum(axis=1)).mean() > 2 / 8


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *(("interactions", 0), ("users", 0), ("users", 10_000_001), ("items", -1), ("genres", 0), ("seed", -1)),
        *(("days", 0.0), ("days", float("nan")), ("days", 1e9), ("strength", 1.01), ("strength", float("nan"))),
        *(("label_noise", 0.5), ("label_noise", -0.1), ("drift", ("sudden", "often"))),
    ],
)
def test_what_no_stream_can_be_made_from_is_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*"):
        replace(SMALL, **{name: wrong})

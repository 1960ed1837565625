"""Ranking on sampled candidates: metrics against scikit-learn and by hand, the sampling against its rules."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from models.interactions import Interactions, category_column
from models.learner import learn
from models.learner_state import LearnerState
from models.learning import LearningSettings, prepare_process
from models.randomness import rng
from models.ranking import Ranking, RankingSettings, drawn_lists, ranking, rankings
from models.samples import Samples
from models.sampling import SamplerState, sample
from stream_app.synthetic import drifting_stream

LEARNING = LearningSettings(pretrain=2, passes=1, initialisations=1, batch=64, device="cpu", negatives=1)


def scored(seed: int, lists: int = 60, ties: bool = False) -> torch.Tensor:
    logits = torch.from_numpy(np.random.default_rng(seed).standard_normal((lists, 20)).astype(np.float32))
    return torch.round(logits) if ties else logits


@pytest.mark.parametrize("k", [1, 5, 20, 50])
@pytest.mark.parametrize("ties", [False, True])
def test_ndcg_is_scikit_learns_which_averages_over_ties(k: int, ties: bool) -> None:
    logits = scored(k, ties=ties)
    relevant = np.zeros(logits.shape)
    relevant[:, 0] = 1
    expected = ndcg_score(relevant, logits.numpy(), k=k, ignore_ties=False)
    assert ranking(logits, k).ndcg == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_tied_candidates_count_as_every_order_of_them(k: int) -> None:
    row = [1.0, 2.0, 1.0, 1.0, 0.0]  # the positive shares places 2 to 4
    recall, ndcg = [], []
    for order in permutations(range(5)):
        if [row[at] for at in order] == sorted(row, reverse=True):
            place = 1 + order.index(0)
            recall.append(place <= k)
            ndcg.append((place <= k) / math.log2(1 + place))
    found = ranking(torch.tensor([row]), k)
    assert found.recall == pytest.approx(np.mean(recall), rel=1e-12)
    assert found.ndcg == pytest.approx(np.mean(ndcg), rel=1e-12)


def test_by_hand() -> None:
    logits = torch.tensor([[5.0, 1, 2, 3], [2.5, 1, 2, 3], [0, 1, 2, 3]])  # places 1, 2 and 4
    assert ranking(logits, 2) == Ranking(2 / 3, pytest.approx((1 + 1 / math.log2(3)) / 3), 3)
    assert ranking(logits, 4) == Ranking(1.0, pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(5)) / 3), 3)


def test_a_model_that_says_the_same_of_all_is_worth_what_chance_is() -> None:
    assert ranking(torch.zeros(7, 100), 10).recall == pytest.approx(0.1, rel=1e-12)


def test_no_list_and_a_model_that_fails_are_not_defined() -> None:
    for logits in (torch.zeros(0, 5), torch.tensor([[math.nan, 1, 2]]), torch.tensor([[1, math.nan, 2]])):
        found = ranking(logits, 1)
        assert math.isnan(found.recall)
        assert math.isnan(found.ndcg)
        assert found.positives == len(logits)


def periods(count: int, rows: int = 300) -> list[Interactions]:
    stream = drifting_stream(count * rows, users=40, items=60, seed=3).canonical()
    return [stream.select(slice(at, at + rows)) for at in range(0, len(stream), rows)]


def sampled() -> tuple[SamplerState, SamplerState, Samples]:
    """Sampler before and after the last of three periods, and its samples."""
    state, samples = SamplerState.start(), Samples.empty()
    before = state
    for number, rows in enumerate(periods(3), 1):
        before = state
        state, samples = sample(state, rows, 1, rng(0, number, "negatives"), rng(0, number, "training"))
    return before, state, samples


def test_candidates_are_known_to_the_model_and_never_positive_for_their_user() -> None:
    before, after, samples = sampled()
    settings = RankingSettings(candidates=25, positives=50)
    lists = drawn_lists(samples, before, after, settings, rng(0, 3, "ranking"))
    users, items = lists.users.reshape(-1, 26), lists.items.reshape(-1, 26)
    assert len(users) == 50
    positives = {(int(key) >> 32, int(key) & 0xFFFFFFFF) for key in after.pairs}
    for user, targets in zip(users.tolist(), items.tolist(), strict=True):
        assert len(set(user)) == 1
        assert (user[0], targets[0]) in positives
        assert not {(user[0], item) for item in targets[1:]} & positives
        assert all(1 <= item <= len(before.items) for item in targets[1:])


def test_a_list_has_the_history_of_its_positive() -> None:
    before, after, samples = sampled()
    settings = RankingSettings(candidates=3, positives=10_000)
    lists = drawn_lists(samples, before, after, settings, rng(0, 3, "ranking"))
    of = np.flatnonzero(samples.labels.numpy() > 0.5)
    assert len(lists) == 4 * len(of)  # every positive, in the order of the samples
    expected = samples.select(torch.from_numpy(np.repeat(of, 4)))
    assert torch.equal(lists.history, expected.history)
    assert torch.equal(lists.offsets, expected.offsets)
    assert torch.equal(lists.items[::4], expected.items[::4])


def test_candidates_are_drawn_uniformly() -> None:
    before, after, samples = sampled()
    settings = RankingSettings(candidates=2000, positives=1)
    lists = drawn_lists(samples, before, after, settings, rng(0, 3, "ranking"))
    user, drawn = int(lists.users[0]), lists.items[1:]
    taken = {int(key) & 0xFFFFFFFF for key in after.pairs if int(key) >> 32 == user}
    free = sorted(set(range(1, len(before.items) + 1)) - taken)
    counts = np.bincount(drawn.numpy(), minlength=len(before.items) + 1)[free]
    expected = 2000 / len(free)
    # Five standard deviations of a binomial draw, on every item.
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_a_user_who_has_everything_is_left_out() -> None:
    before, after, samples = sampled()
    user = int(samples.users[samples.labels > 0.5][0])
    everything = np.unique(np.append(after.pairs, user << 32 | np.arange(1, len(before.items) + 1)))
    known = replace(after, pairs=everything)
    lists = drawn_lists(samples, before, known, RankingSettings(), rng(0, 3, "ranking"))
    positives = samples.labels > 0.5
    assert user not in lists.users
    assert len(lists) == 100 * int((positives & (samples.users != user)).sum())


def with_categories(rows: Interactions, shift: int = 0) -> Interactions:
    """Each item with two categories, of its number plus `shift`."""
    texts = [(f"a{(item + shift) % 5}", f"b{(item + shift) % 3}") for item in rows.items.tolist()]
    return replace(rows, categories=category_column(texts))


def test_items_of_a_list_have_the_categories_that_were_known_before_the_period() -> None:
    state, samples = SamplerState.start(), Samples.empty()
    before = state
    for number, rows in enumerate(periods(3), 1):
        before = state
        draws = rng(0, number, "negatives"), rng(0, number, "training")
        state, samples = sample(state, with_categories(rows, shift=number), 1, *draws)
    lists = drawn_lists(samples, before, state, RankingSettings(candidates=8, positives=40), rng(0, 3, "ranking"))
    said = [set[str]() for _ in range(state.items.size)]  # what the first two periods said last
    for number, rows in enumerate(periods(3)[:2], 1):
        for item, row in zip(rows.items.tolist(), state.items.rows(rows.items).tolist(), strict=True):
            said[row] = {f"a{(item + number) % 5}", f"b{(item + number) % 3}"}
    offsets = lists.category_offsets.tolist()
    for at, item in enumerate(lists.items.tolist()):
        rows = lists.categories[offsets[at] : offsets[at + 1]].tolist()
        assert {str(state.categories.ids[row - 1]) for row in rows} == said[item]


def run(
    settings: RankingSettings, learning: LearningSettings = LEARNING, categories: bool = False
) -> list[dict[str, Ranking]]:
    prepare_process(learning)
    state, found = LearnerState.start(), []
    for number, plain in enumerate(periods(5), 1):
        rows = with_categories(plain) if categories else plain
        after, _ = learn(state, rows, number, learning)
        found.append(rankings(state, after, number, learning, settings))
        state = after
    return found


def test_every_candidate_of_a_period_is_ranked_and_none_while_pretraining() -> None:
    found = run(RankingSettings(k=5, positives=80))
    names = tuple(method.method for method in LEARNING.methods)
    assert [tuple(each) for each in found] == [(), (), names, names, names]
    assert all(0 <= each["iu"].ndcg <= each["iu"].recall <= 1 and each["iu"].positives == 80 for each in found[2:])
    # The first candidates are the same parameters, so that the same lists must give the same numbers.
    assert found == run(RankingSettings(k=5, positives=80))
    alone = run(RankingSettings(k=5, positives=80), replace(LEARNING, methods=LEARNING.methods[:1]))
    assert [each["iu"] for each in alone[2:]] == [each["iu"] for each in found[2:]]


def test_a_model_with_categories_ranks_the_same_lists_in_its_own_way() -> None:
    plain, knowing = (run(RankingSettings(k=5, positives=80), categories=known) for known in (False, True))
    assert [tuple(each) for each in knowing] == [tuple(each) for each in plain]
    assert knowing[-1]["iu"] != plain[-1]["iu"]


@pytest.mark.parametrize("wrong", [{"k": 0}, {"candidates": 0}, {"positives": 0}])
def test_settings_that_rank_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least 1"):
        RankingSettings(**wrong)

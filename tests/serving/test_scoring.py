"""ServingModel against a scalar loop in float64 and against torch."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from simulators import tiny_version

from stream_app.serving.model import ServingModel
from stream_app.serving.networks.network import sigmoid
from stream_app.versions.model_version import ModelVersion

USERS, ITEMS = (11, 7, 5), (3, 2, 9, 4)
VERSION = tiny_version(users=USERS, items=ITEMS)
MODEL = ServingModel(VERSION)
CATEGORIES = ((2,), (), (1, 3), (1, 2, 3))
WITH_CATEGORIES = tiny_version(users=USERS, items=ITEMS, categories=CATEGORIES)


def by_hand(user: Any, item: Any, history: Sequence[Any], version: ModelVersion = VERSION) -> float:
    """The probability from the base model's definition, one number at a time."""
    weights = {name.removeprefix("parameters."): array.astype(np.float64) for name, array in version.tensors.items()}

    def row(ids: Sequence[Any], wanted: Any) -> int:
        return ids.index(wanted) + 1 if wanted in ids else 0

    def mean(vectors: Sequence[Any], width: int) -> list[float]:
        return [sum(vector[j] for vector in vectors) / len(vectors) if vectors else 0.0 for j in range(width)]

    def of_item(wanted: Any) -> list[float]:
        vector = [*weights["item"][row(ITEMS, wanted)]]
        if version is VERSION:
            return vector
        own = CATEGORIES[ITEMS.index(wanted)] if wanted in ITEMS else ()
        return [*vector, *mean([weights["category"][category] for category in own], 8)]

    recent = [of_item(one) for one in history[:30]]
    x = [*weights["user"][row(USERS, user)], *mean(recent, len(of_item(0))), *of_item(item)]
    for layer in (1, 2, 3):
        w, b = weights[f"w{layer}"], weights[f"b{layer}"]
        x = [sum(x[i] * w[i, j] for i in range(len(x))) + b[j] for j in range(len(b))]
        if layer < 3:
            x = [max(0.0, value) for value in x]
    return 1 / (1 + math.exp(-x[0]))


CASES = [
    (11, 3, []),
    (7, 9, [2]),
    (5, 4, [9, 9, 3]),
    (5, 3, list(ITEMS) * 10),
    (99, 3, [2, 4]),
    (11, 99, [3]),
    (99, 98, [97, 3, 96]),
    (7, 2, [97]),
]


@pytest.mark.parametrize("version", [VERSION, WITH_CATEGORIES], ids=["plain", "with categories"])
def test_probabilities_are_those_of_the_definition(version: ModelVersion) -> None:
    users, items, histories = zip(*CASES, strict=True)
    expected, model = [by_hand(*case, version) for case in CASES], ServingModel(version)
    np.testing.assert_allclose(model.score_pairs(users, items, histories), expected, atol=1e-6, rtol=0)
    for (user, item, history), probability in zip(CASES, expected, strict=True):
        np.testing.assert_allclose(model.score(user, [item], history), [probability], atol=1e-6, rtol=0)


def test_the_categories_of_an_unknown_item_are_none_and_not_the_cold_row_of_their_table() -> None:
    moved = WITH_CATEGORIES.tensors["parameters.category"].copy()
    moved[0] = 100
    other = tiny_version(users=USERS, items=ITEMS, categories=CATEGORIES, replaced={"parameters.category": moved})
    scores = [ServingModel(version).score(11, [77, 2], [78, 3]) for version in (WITH_CATEGORIES, other)]
    np.testing.assert_array_equal(*scores)


def test_a_version_whose_items_have_no_categories_scores_with_zeros_for_them() -> None:
    bare = tiny_version(users=USERS, items=ITEMS, categories=((),) * 4)
    moved = {"parameters.category": bare.tensors["parameters.category"] + 1}
    other = tiny_version(users=USERS, items=ITEMS, categories=((),) * 4, replaced=moved)
    scores = [ServingModel(version).score(11, ITEMS, [2, 3]) for version in (bare, other)]
    np.testing.assert_array_equal(*scores)


def test_probabilities_are_those_of_torch_within_1e_6() -> None:
    draw = np.random.default_rng(5)
    users, items = draw.integers(0, 15, 40_000), draw.integers(0, 12, 40_000)
    offsets = np.concatenate([[0], np.cumsum(draw.integers(0, 31, 40_000))])
    flat = draw.integers(0, 12, offsets[-1])

    weights = {name.removeprefix("parameters."): torch.from_numpy(a.copy()) for name, a in VERSION.tensors.items()}
    user_rows = torch.tensor([USERS.index(u) + 1 if u in USERS else 0 for u in users.tolist()])
    item_rows, history = (
        torch.tensor([ITEMS.index(i) + 1 if i in ITEMS else 0 for i in ids.tolist()]) for ids in (items, flat)
    )
    mean = torch.nn.functional.embedding_bag(history, weights["item"], torch.from_numpy(offsets[:-1]), mode="mean")
    x = torch.cat([weights["user"][user_rows], mean, weights["item"][item_rows]], dim=1)
    x = torch.relu(x @ weights["w1"] + weights["b1"])
    x = torch.relu(x @ weights["w2"] + weights["b2"])
    expected = torch.sigmoid(x @ weights["w3"] + weights["b3"])[:, 0].numpy()

    scores = MODEL.score_pairs(users, items, (flat, offsets))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6, rtol=0)


def test_histories_as_lists_and_as_columns_are_the_same() -> None:
    histories = [[3, 2], [], [9] * 40, [77]]
    flat, offsets = np.array([item for history in histories for item in history]), np.array([0, 2, 2, 42, 43])
    one = MODEL.logits([11, 7, 5, 11], [3, 2, 9, 4], histories)
    two = MODEL.logits(np.array([11, 7, 5, 11]), np.array([3, 2, 9, 4]), (flat, offsets))
    np.testing.assert_array_equal(one, two)


def test_no_history_is_an_empty_history() -> None:
    np.testing.assert_array_equal(MODEL.score(11, ITEMS), MODEL.score(11, ITEMS, []))
    np.testing.assert_array_equal(MODEL.score_pairs([11], [3]), MODEL.score_pairs([11], [3], [[]]))
    np.testing.assert_array_equal(MODEL.score(11, ITEMS, np.array([3, 9])), MODEL.score(11, ITEMS, [3, 9]))


def test_only_the_thirty_most_recent_count() -> None:
    recent = [3, 2, 9] * 10
    np.testing.assert_array_equal(MODEL.score(11, ITEMS, recent), MODEL.score(11, ITEMS, [*recent, 4, 4, 4]))
    np.testing.assert_array_equal(MODEL.logits([11], [3], [recent]), MODEL.logits([11], [3], [[*recent, 4, 4, 4]]))


def test_all_unknown_ids_share_one_cold_row() -> None:
    assert MODEL.score(-1, [3])[0] == MODEL.score(2**62, [3])[0]
    assert len(set(MODEL.score(11, [77, 78, -79]).tolist())) == 1
    assert [MODEL.knows_user(user) for user in (11, 5, 3, 0)] == [True, True, False, False]
    assert [MODEL.knows_item(item) for item in (3, 4, 11, 0)] == [True, True, False, False]


def test_string_ids_score_as_integer_ids_of_the_same_rows() -> None:
    texts = ServingModel(tiny_version(users=("k", "ö", ""), items=("3", "2", "9", "4")))
    names = {11: "k", 7: "ö", 5: "", 99: "nobody"}
    users, items, histories = zip(*CASES, strict=True)
    scores = texts.score_pairs(
        [names[u] for u in users], [str(i) for i in items], [[str(i) for i in history] for history in histories]
    )
    np.testing.assert_array_equal(scores, MODEL.score_pairs(users, items, histories))
    np.testing.assert_array_equal(texts.score("k", np.array(["3", "2"])), MODEL.score(11, [3, 2]))


@pytest.mark.parametrize("ids", [["11"], [1.0], [None], [2**63], [2**64], [[1]], [True]])
def test_ids_of_another_type_are_no_cold_start(ids: list[Any]) -> None:
    with pytest.raises(ValueError):
        MODEL.score(11, ids)


def test_a_number_is_no_string_id() -> None:
    with pytest.raises(ValueError):
        ServingModel(tiny_version(users=("a",))).score(1, [3])


def test_columns_of_different_length_are_refused() -> None:
    for arguments in (([1], [1, 2]), ([1, 2], [1, 2], [[3]]), ([1], [1], (np.array([3]), np.array([0, 2])))):
        with pytest.raises(ValueError):
            MODEL.score_pairs(*arguments)


@pytest.mark.parametrize("version", [VERSION, WITH_CATEGORIES], ids=["plain", "with categories"])
def test_many_candidates_score_as_one_at_a_time_and_need_little_memory(version: ModelVersion) -> None:
    model, count = ServingModel(version), 200_000
    items = np.random.default_rng(1).integers(0, 12, count)
    model.score(7, items[:9000])  # this thread's memory for one block
    tracemalloc.start()
    try:
        found = model.score(7, items, [2, 9])
        assert tracemalloc.get_traced_memory()[1] < 40 * count
    finally:
        tracemalloc.stop()
    expected = model.score_pairs([7] * 12, range(12), [[2, 9]] * 12)
    np.testing.assert_allclose(found, expected[items], atol=1e-6, rtol=0)


def test_nothing_to_score_gives_nothing() -> None:
    assert MODEL.score(11, []).shape == (0,)
    assert MODEL.score_pairs([], [], []).shape == (0,)


def test_a_model_that_knows_nobody_scores_everybody_the_same() -> None:
    nobody = np.zeros(0, np.int64)
    empty = ServingModel(tiny_version(users=nobody, items=nobody))
    assert len(set(empty.score_pairs([1, 2], [3, 4], [[5], [6, 7]]).tolist())) == 1


def test_sigmoid_is_right_at_both_ends() -> None:
    logits = np.array([-1000, -87, -20, 0, 3, 20, 1000], np.float32)
    expected = [0, math.exp(-87), 1 / (1 + math.exp(20)), 0.5, 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-20)), 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(sigmoid(logits), expected, rtol=1e-5)


def test_a_model_in_a_log_is_a_line() -> None:
    assert repr(MODEL) == f"<ServingModel of version {VERSION.number} {VERSION.digest[:12]}>"
    assert repr(VERSION) == f"<ModelVersion {VERSION.number} {VERSION.digest[:12]}>"

"""A version's own histories: they count where none is given, exactly as if they had been given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from simulators import tiny_version

from stream_app.serving.model import ServingModel

HISTORIES = ((4, 1, 1), (), (2,) * 30)
CATEGORIES = ((2,), (), (1, 3), (1, 2, 3))
KINDS: dict[str, dict[str, Any]] = {
    "integers": {"users": (11, 7, 5), "items": (3, 2, 9, 4)},
    "strings": {"users": ("k", "ö", ""), "items": ("日本", "", "ab", "x")},
    "with categories": {"users": (11, 7, 5), "items": (3, 2, 9, 4), "categories": CATEGORIES},
}


@pytest.fixture(params=KINDS)
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    return KINDS[request.param]


def test_where_none_is_given_they_count_as_if_given(given: dict[str, Any]) -> None:
    model = ServingModel(tiny_version(**given, histories=HISTORIES))
    bare = ServingModel(tiny_version(**given))
    users, items = given["users"], given["items"]
    own = [[items[row - 1] for row in rows] for rows in HISTORIES]
    for user, history in zip(users, own, strict=True):
        assert model.own_history(user).items == history
        np.testing.assert_array_equal(model.score(user, items), bare.score(user, items, history))
        assert model.recommend(user, 2).items == bare.recommend(user, 2, history=history).items
    asked = [*users, users[0], users[2]]
    expected = bare.logits(asked, items[:1] * 5, [*own, own[0], own[2]])
    np.testing.assert_array_equal(model.logits(asked, items[:1] * 5), expected)
    assert len(set(expected[:3].tolist())) == 3, "or the histories say nothing"


def test_given_ones_count_in_their_place_and_an_empty_one_is_none(given: dict[str, Any]) -> None:
    model = ServingModel(tiny_version(**given, histories=HISTORIES))
    bare = ServingModel(tiny_version(**given))
    (user, *_), items = given["users"], given["items"]
    for history in ((), [], [items[2]]):
        np.testing.assert_array_equal(model.score(user, items, history), bare.score(user, items, history))
        pairs = [user, user], items[:2], [history, history]
        np.testing.assert_array_equal(model.score_pairs(*pairs), bare.score_pairs(*pairs))


def test_an_unknown_user_has_none(given: dict[str, Any]) -> None:
    model = ServingModel(tiny_version(**given, histories=HISTORIES))
    nobody = "nobody" if isinstance(given["users"][0], str) else 999
    assert model.own_history(nobody) == ([], 0)
    np.testing.assert_array_equal(model.score(nobody, given["items"]), model.score(nobody, given["items"], ()))
    first = given["items"][:1]
    np.testing.assert_array_equal(model.score_pairs([nobody], first), model.score_pairs([nobody], first, [()]))


def test_a_version_of_no_users_answers() -> None:
    model = ServingModel(tiny_version(users=np.empty(0, np.int64), histories=()))
    np.testing.assert_array_equal(model.score_pairs([5], [3]), model.score_pairs([5], [3], [()]))


def test_how_many_are_of_the_last_moment_is_told_by_user() -> None:
    model = ServingModel(tiny_version(histories=HISTORIES, newest=(2, 0, 30)))
    assert [model.own_history(user).newest for user in (11, 7, 5, 999)] == [2, 0, 30, 0]
    assert model.histories is not None
    assert model.histories.until == 99
    assert ServingModel(tiny_version()).histories is None
    assert ServingModel(tiny_version()).own_history(11) == ([], 0)

"""What is recommended, against a full sort: with ties, exclusions, unknown ids, and more asked for than there is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulators import ModelVersion, tiny_version

from stream_app.serving.model import ServingModel

ITEMS = tuple(range(100, 160))
TEXTS = tuple(f"item {number}" for number in ITEMS)
CATEGORIES = tuple(tuple(sorted({number % 4, number % 3} - {0})) for number in ITEMS)


def whole_numbers(**arguments: Any) -> ModelVersion:
    """A version with parameters of which every sum and product is exact, so that equal items tie exactly."""
    draw = np.random.default_rng(4)
    version = tiny_version(**arguments)
    arrays = {name: array for name, array in version.tensors.items() if name.startswith("parameters.")}
    exact = {name: draw.integers(-1, 2, array.shape).astype(np.float32) for name, array in arrays.items()}
    return tiny_version(replaced=exact, **arguments)


def factorized(**replaced: Any) -> ModelVersion:
    draw = np.random.default_rng(5)
    layers = {f"parameters.{kind}{n}": None for kind in "wb" for n in (1, 2, 3)}
    shapes = {"user": (4, 8), "item": (61, 8), "user_bias": (4, 1), "item_bias": (61, 1), "bias": (1,)}
    exact = {f"parameters.{name}": draw.integers(-1, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    tensors = layers | exact | {f"parameters.{name}": array for name, array in replaced.items()}
    learning = {"settings_digest": "0" * 64, "method": "iu", "base_model": "matrix-factorization"}
    return tiny_version(items=ITEMS, replaced=tensors, learning=learning)


VERSIONS = {
    "embedding-mlp": whole_numbers(items=ITEMS),
    "string ids": whole_numbers(items=TEXTS),
    "categories": whole_numbers(items=ITEMS, categories=CATEGORIES),
    "matrix-factorization": factorized(),
}
MODELS = {name: ServingModel(version) for name, version in VERSIONS.items()}


def sorted_by_hand(
    model: ServingModel, user: Any, k: int, among: Sequence[Any] | None, exclude: Sequence[Any], history: Sequence[Any]
) -> list[Any]:
    """One item at a time, as `score_pairs` would; then Python's stable sort."""
    known = list(TEXTS if model is MODELS["string ids"] else ITEMS)
    asked = known if among is None else list(dict.fromkeys(among))
    cold_first = [item for item in asked if item not in known] + [item for item in known if item in asked]
    left = [item for item in cold_first if item not in exclude]
    logits = {item: model.logits([user], [item], [history])[0] for item in left}
    return sorted(left, key=lambda item: -logits[item])[:k]


def ids_of(name: str) -> st.SearchStrategy[Any]:
    numbers = st.integers(95, 165)
    return numbers.map(lambda number: f"item {number}") if name == "string ids" else numbers


@pytest.mark.parametrize("name", VERSIONS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_recommended_are_the_first_of_a_full_sort_whatever_is_asked(name: str, data: st.DataObject) -> None:
    model, ids = MODELS[name], ids_of(name)
    user, k = data.draw(st.sampled_from([11, 7, 5, 99])), data.draw(st.integers(0, 80))
    among = data.draw(st.none() | st.lists(ids, max_size=30))
    exclude = data.draw(st.lists(ids, max_size=30))
    size = data.draw(st.sampled_from([0, 1, 2, 4]))  # their means are exact
    history = data.draw(st.lists(ids, min_size=size, max_size=size))
    found = model.recommend(user, k, among, exclude, history)
    assert found.items == sorted_by_hand(model, user, k, among, exclude, history)
    assert found.probabilities.dtype == np.float32
    np.testing.assert_array_equal(found.probabilities, model.score(user, found.items, history))


def test_unknown_ids_are_as_good_as_each_other_and_stand_as_they_were_given() -> None:
    model, unknown = MODELS["embedding-mlp"], [9, 7, 8]
    assert model.recommend(11, 2, [*unknown, 9]).items == [9, 7]
    assert model.recommend(11, 9, [*unknown, 9], exclude={7, 55}).items == [9, 8]
    cold, warm = model.score(11, [9, 100])
    ordered = [*unknown, 100] if cold >= warm else [100, *unknown]
    assert model.recommend(11, 9, np.array([100, *unknown, 100])).items == ordered


@pytest.mark.parametrize("name", VERSIONS)
def test_blocks_do_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, exclude in ((1, ()), (7, ()), (7, model_ids(name)[5:40]), (60, ()), (100, ())):
        whole = MODELS[name].recommend(11, k, exclude=exclude)
        with monkeypatch.context() as patched:
            patched.setattr("stream_app.serving.best.BLOCK", 4)
            assert MODELS[name].recommend(11, k, exclude=exclude).items == whole.items


@pytest.mark.parametrize("name", VERSIONS)
def test_what_is_too_large_to_be_kept_is_computed_when_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_app.serving.networks.embedding_mlp.KEPT_BYTES", 0)
    bare, kept, ids = ServingModel(VERSIONS[name]), MODELS[name], model_ids(name)
    assert not [array for array in bare.derived.values() if array.dtype == np.float32]
    for history in ((), ids[7:9], ids[50:54]):
        np.testing.assert_array_equal(bare.score(7, ids, history), kept.score(7, ids, history))
        np.testing.assert_array_equal(bare.logits([7], ids[:1], [history]), kept.logits([7], ids[:1], [history]))
        assert bare.recommend(7, 20, history=history).items == kept.recommend(7, 20, history=history).items


def test_what_another_process_has_derived_is_used_as_it_is() -> None:
    other = ServingModel(tiny_version(items=ITEMS, seed=1)).derived
    crossed = ServingModel(VERSIONS["embedding-mlp"], derived=other)
    assert crossed.derived is other
    assert (
        crossed.recommend(11, 60).probabilities.tolist()
        != MODELS["embedding-mlp"].recommend(11, 60).probabilities.tolist()
    )
    mapped = {name: array.view(np.memmap) for name, array in MODELS["string ids"].derived.items()}
    model = ServingModel(VERSIONS["string ids"], derived=mapped)
    assert model.recommend(11, 60).items == MODELS["string ids"].recommend(11, 60).items
    assert type(model.score(11, TEXTS)) is np.ndarray


def test_an_item_whose_probability_is_no_number_is_not_recommended() -> None:
    biases = np.zeros((61, 1), np.float32)
    biases[1], biases[2] = np.inf, -np.inf  # no version that was checked has these; sums that overflow do
    rows = np.zeros((61, 8), np.float32)
    rows[3] = np.float32(3e38)
    users = np.tile(np.array([3, -3, 1, 0, 0, 0, 0, 0], np.float32), (4, 1))
    own = {
        "item": rows,
        "item_bias": biases,
        "user": users,
        "user_bias": users[:, :1] * 0,
        "bias": np.zeros(1, np.float32),
    }
    with np.errstate(over="ignore", invalid="ignore"):
        model = ServingModel(factorized(**own))
        assert np.isnan(model.score(11, [102])[0])
        found = model.recommend(11, 100)
    assert found.items == [100, *range(103, 160), 101]
    assert found.probabilities[[0, 1, -1]].tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("k", [-1, -100, 2.5, "3"])
def test_fewer_than_none_or_parts_of_an_item_cannot_be_asked_for(k: Any) -> None:
    with pytest.raises(ValueError, match=f"k is {k!r}, must be a whole number"):
        MODELS["embedding-mlp"].recommend(11, k)


@pytest.mark.parametrize("asked", [{"among": ["a"]}, {"exclude": [1.5]}, {"history": ["a"]}, {"user": "a"}])
def test_ids_of_another_type_are_refused_wherever_they_stand(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"integers of 64 bits, given is \[('a'|1\.5)\]"):
        MODELS["embedding-mlp"].recommend(**{"user": 11, "k": 3, **asked})


def test_threads_do_not_meet_in_the_memory_that_is_reused() -> None:
    model = MODELS["categories"]
    wanted = {user: model.recommend(user, 60) for user in (11, 7, 5, 99)}

    def right(user: int) -> bool:
        found = [model.recommend(user, 60) for _ in range(200)]
        return all((each.probabilities == wanted[user].probabilities).all() for each in found)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(right, wanted))


def model_ids(name: str) -> Sequence[Any]:
    return TEXTS if name == "string ids" else ITEMS

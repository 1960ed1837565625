"""What is recommended, against a full sort: with ties, exclusions, unknown ids, and more asked for than there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def whole_numbers(replaced: Mapping[str, Any] | None = None, **arguments: Any) -> ModelVersion:
    """A version with parameters of which every sum and product is exact, so that equal items tie exactly."""
    draw = np.random.default_rng(4)
    version = tiny_version(replaced=replaced, **arguments)
    arrays = {name: array for name, array in version.tensors.items() if name.startswith("parameters.")}
    exact = {name: draw.integers(-1, 2, array.shape).astype(np.float32) for name, array in arrays.items()}
    return tiny_version(replaced={**(replaced or {}), **exact}, **arguments)


def factorized(**arguments: Any) -> ModelVersion:
    layers = {f"parameters.{kind}{n}": None for kind in "wb" for n in (1, 2, 3)}
    biases = {"user_bias": np.zeros((4, 1)), "item_bias": np.zeros((61, 1)), "bias": np.zeros(1)}
    tensors = {f"parameters.{name}": array.astype(np.float32) for name, array in biases.items()}
    learning = {"settings_digest": "0" * 64, "method": "iu", "base_model": "matrix-factorization"}
    return whole_numbers(layers | tensors, learning=learning, **arguments)


VERSIONS = {
    "embedding-mlp": whole_numbers(items=ITEMS),
    "string ids": whole_numbers(items=TEXTS),
    "categories": whole_numbers(items=ITEMS, categories=CATEGORIES),
    "matrix-factorization": factorized(items=ITEMS),
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


@pytest.mark.parametrize("name", VERSIONS)
def test_blocks_do_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, exclude in ((1, ()), (7, ()), (7, model_ids(name)[5:40]), (60, ()), (100, ())):
        whole = MODELS[name].recommend(11, k, exclude=exclude)
        with monkeypatch.context() as patched:
            patched.setattr("stream_app.serving.best.BLOCK", 4)
            assert MODELS[name].recommend(11, k, exclude=exclude).items == whole.items


def model_ids(name: str) -> Sequence[Any]:
    return TEXTS if name == "string ids" else ITEMS

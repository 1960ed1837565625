"""What computes with a version: the other built-in base model, and something of one's own in place of numpy's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from simulators import ModelVersion, envelope, tiny_version

from stream_app.errors import SchemaMismatch
from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.serving.networks.network import Floats, Lookups, Network
from stream_app.versions.assembler import Assembler
from stream_app.versions.manifest import Content

USERS, ITEMS = (11, 7, 5), (3, 2, 9, 4)
LAYERS = ("w1", "b1", "w2", "b2", "w3", "b3")
FOREIGN = "mypackage.net:Net"


def learning(base_model: str) -> dict[str, Any]:
    return {"settings_digest": "0" * 64, "method": "iu", "base_model": base_model}


def factorized(**replaced: Any) -> ModelVersion:
    draw = np.random.default_rng(3)
    biases = {"user_bias": draw.normal(size=(4, 1)), "item_bias": draw.normal(size=(5, 1)), "bias": draw.normal(size=1)}
    tensors = {f"parameters.{name}": array.astype(np.float32) for name, array in biases.items()}
    layers = {f"parameters.{name}": None for name in LAYERS}
    return tiny_version(replaced=layers | tensors | replaced, learning=learning("matrix-factorization"))


def fed(version: ModelVersion, assembler: Assembler | None = None) -> ModelVersion:
    assembler = assembler or Assembler("default", NumpyServing())
    (served,) = [found for message in version.messages(envelope()) if (found := assembler.feed(*message)) is not None]
    return served


def test_matrix_factorization_is_served_as_it_is_defined() -> None:
    version = fed(factorized())
    weights = {name.removeprefix("parameters."): array.astype(np.float64) for name, array in version.tensors.items()}
    pairs = [(11, 3), (5, 4), (99, 2), (7, 98), (99, 98)]
    expected = []
    for user, item in pairs:
        u = USERS.index(user) + 1 if user in USERS else 0
        i = ITEMS.index(item) + 1 if item in ITEMS else 0
        logit = sum(weights["user"][u, d] * weights["item"][i, d] for d in range(8))
        logit += weights["user_bias"][u, 0] + weights["item_bias"][i, 0] + weights["bias"][0]
        expected.append(1 / (1 + math.exp(-logit)))
    model = ServingModel(version)
    users, items = zip(*pairs, strict=True)
    np.testing.assert_allclose(model.score_pairs(users, items, [[3, 9]] * 5), expected, atol=1e-6, rtol=0)
    for (user, item), probability in zip(pairs, expected, strict=True):
        np.testing.assert_allclose(model.score(user, [item], [2]), [probability], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("user_bias", np.zeros((5, 1), np.float32)),
        ("item_bias", np.zeros((5, 2), np.float32)),
        ("user", np.zeros((4, 9), np.float32)),
        ("bias", np.zeros(2, np.float32)),
        ("bias", np.zeros((1, 1), np.float32)),
        ("bias", None),
        ("w1", np.zeros((24, 12), np.float32)),
    ],
)
def test_tensors_that_are_no_matrix_factorization_are_refused(name: str, array: Any) -> None:
    with pytest.raises(SchemaMismatch, match=name if name != "user" else "widths"):
        fed(factorized(**{f"parameters.{name}": array}))


def test_a_model_of_somebodys_own_is_refused_by_name_with_what_would_serve_it() -> None:
    with pytest.raises(SchemaMismatch, match=rf"{FOREIGN}.*embedding-mlp.*serving=.*ModuleServing"):
        fed(tiny_version(learning=learning(FOREIGN)))


class ByItem(Network):
    """Something of one's own: an item's row is its logit."""

    def logits(self, lookups: Lookups) -> Floats:
        return lookups.items.astype(np.float32)


class OwnServing:
    def check(self, content: Content) -> None:
        if content.learning["base_model"] != FOREIGN:
            raise SchemaMismatch(content.version, "no model of mine")

    def network(self, version: ModelVersion) -> Network:
        return ByItem()


def test_what_serves_may_be_ones_own_and_judges_for_itself() -> None:
    serving = OwnServing()
    with pytest.raises(SchemaMismatch, match="no model of mine"):
        fed(tiny_version(), Assembler("default", serving))
    version = fed(tiny_version(learning=learning(FOREIGN)), Assembler("default", serving))
    model = ServingModel(version, serving.network(version))
    assert model.logits([11, 7], [2, 77]).tolist() == [2.0, 0.0]
    assert model.recommend(11, 3, exclude=[4]).items == [9, 2, 3]
    assert model.recommend(11, 3, [77, 3, 9]).items == [9, 3, 77]

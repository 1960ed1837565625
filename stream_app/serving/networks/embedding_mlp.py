"""Embedding & MLP in numpy: [user ; mean of the history's items ; item] -> ReLU layers -> one logit.

Where the version has categories, an item's vector is followed by the mean of its categories' (zeros without any, and
for an unknown item), in a history too.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_app.serving.networks.network import Floats, Lookups, NumpyNetwork, Rows, same_width, taken_table
from stream_app.versions.columns import item_categories_from_tensors
from stream_app.versions.fitness import taken
from stream_app.versions.tensors import Array, TensorSpec


class EmbeddingMlpNetwork(NumpyNetwork):
    """A float32 table per kind of id and one common width d; layers w1, b1, w2, b2, ... that lead from 3 d inputs, 5 d
    with categories, to one output."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._user, self._item = tensors["parameters.user"], _item_vectors(tensors)
        self._layers = [
            (tensors[f"parameters.w{n}"], tensors[f"parameters.b{n}"]) for n in range(1, _layers(tensors) + 1)
        ]

    @staticmethod
    def check(specs: dict[str, TensorSpec], rows: Mapping[str, int]) -> None:
        """Every layer takes as many inputs as the one before has outputs, the last has one."""
        tables = {"user": "users", "item": "items"} | ({"category": "categories"} if "categories" in rows else {})
        width = same_width({taken_table(specs, table, rows[column]) for table, column in tables.items()})
        inputs = (5 if "category" in tables else 3) * width
        for layer in range(1, _layers(specs) + 1):
            weights = taken(specs, f"parameters.w{layer}", "F32", 2).shape
            biases = taken(specs, f"parameters.b{layer}", "F32", 1).shape
            if weights[0] != inputs or biases != weights[1:]:
                raise ValueError(f"layer {layer} has {weights} weights and {biases} biases for {inputs} inputs")
            inputs = weights[1]
        if inputs != 1:
            raise ValueError(f"the last layer has {inputs} outputs, expected 1")

    def logits(self, lookups: Lookups) -> Floats:
        """What the first layer has in common for all pairs is done once."""
        user, item = self._user[lookups.users], self._item[lookups.items]
        history = _means(self._item[lookups.history], np.diff(lookups.offsets))
        weights, biases = self._layers[0]
        of_user, of_history, of_item = np.split(weights, [user.shape[1], user.shape[1] + item.shape[1]])
        hidden: Floats = (user @ of_user + history @ of_history + biases) + item @ of_item
        for weights, biases in self._layers[1:]:
            hidden = np.maximum(hidden, np.float32(0)) @ weights + biases
        return hidden[:, 0]


def _item_vectors(tensors: Mapping[str, Array]) -> Floats:
    """[items + 1, d], with categories [items + 1, 2 d]: each item beside the mean of its categories."""
    items = tensors["parameters.item"]
    if "parameters.category" not in tensors:
        return items
    table = tensors["parameters.category"]
    rows, offsets = item_categories_from_tensors(tensors, len(table) - 1)
    cold = np.zeros((1, table.shape[1]), np.float32)
    return np.concatenate([items, np.concatenate([cold, _means(table[rows], np.diff(offsets))])], axis=1)


def _means(vectors: Floats, lengths: Rows) -> Floats:
    """Mean [len(lengths), width] of the first so many vectors, of the next so many, ...; zeros where that is none."""
    means = np.zeros((len(lengths), vectors.shape[1]), np.float32)
    some = lengths > 0  # reduceat would give an empty segment the value of its neighbour
    if some.any():
        sums = np.add.reduceat(vectors, (np.cumsum(lengths) - lengths)[some], axis=0)
        means[some] = sums / lengths[some, None].astype(np.float32)
    return means


def _layers(names: Mapping[str, object]) -> int:
    """How many layers in a row the tensors' names have, counted from w1."""
    count = 0
    while f"parameters.w{count + 1}" in names:
        count += 1
    return count

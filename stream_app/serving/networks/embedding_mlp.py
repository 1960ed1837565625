"""Embedding & MLP in numpy: [user ; mean of the history's items ; item] -> ReLU layers -> one logit.

Where the version has categories, an item's vector is followed by the mean of its categories' (zeros without any, and
for an unknown item), in a history too.

For one user and many items the layers stand as [outputs, items]: numpy then adds and compares along rows of thousands
instead of six or twelve numbers, which is most of the time; and what a user has in common for all items is done once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Self

import numpy as np

from stream_app.serving.networks.item_vectors import CATEGORY_MEANS, ItemVectors
from stream_app.serving.networks.network import (
    BLOCK,
    Floats,
    ForUser,
    Lookups,
    NumpyNetwork,
    Rows,
    same_width,
    sigmoid,
    taken_table,
)
from stream_app.serving.networks.ragged import means
from stream_app.serving.networks.scratch import SCRATCH
from stream_app.versions.fitness import taken
from stream_app.versions.tensors import Array, TensorSpec

FIRST_LAYER = "items.first_layer"
KEPT_BYTES = 48 << 20
"""The largest array that is kept beside a version: the first layer's share of a million items, with its 12 outputs."""
_ZERO = np.float32(0)


class EmbeddingMlpNetwork(NumpyNetwork):
    """A float32 table per kind of id and one common width d; layers w1, b1, w2, b2, ... that lead from 3 d inputs, 5 d
    with categories, to one output."""

    def __init__(self, tensors: Mapping[str, Array], derived: Mapping[str, Array] | None = None) -> None:
        kept = derived or {}
        self._tensors = tensors
        self._user, self._items = np.asarray(tensors["parameters.user"]), ItemVectors(tensors, kept)
        self._first_layer = np.asarray(kept[FIRST_LAYER]) if FIRST_LAYER in kept else None
        self._layers = [
            (np.asarray(tensors[f"parameters.w{n}"]), np.asarray(tensors[f"parameters.b{n}"]))
            for n in range(1, _layers(tensors) + 1)
        ]
        weights = self._layers[0][0]
        own = self._user.shape[1] + self._items.width
        self._of_user, self._of_item = weights[:own], np.ascontiguousarray(weights[own:].T)
        self._further = [(np.ascontiguousarray(w.T), b[:, None]) for w, b in self._layers[1:]]
        self._widths = tuple(len(b) for _, b in self._layers)

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

    @staticmethod
    def derived(tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Of all items the means of their categories [items + 1, d] and their share of the first layer
        [outputs, items + 1], each if it takes at most `KEPT_BYTES`; else that is computed request by request."""
        found: dict[str, Array] = {}
        count, width = tensors["parameters.item"].shape
        if "parameters.category" in tensors and count * width * 4 <= KEPT_BYTES:
            vectors = ItemVectors(tensors, {})
            found[CATEGORY_MEANS] = np.concatenate([vectors.category_means(part) for part in _blocks(count)])
        outputs = tensors["parameters.w1"].shape[1]
        if count * outputs * 4 <= KEPT_BYTES:
            network = EmbeddingMlpNetwork(tensors, found)
            share = found[FIRST_LAYER] = np.empty((outputs, count), np.float32)
            for part in _blocks(count):
                share[:, part] = network._of_item @ network._items.of(part).T
        return found

    def given(self, derived: Mapping[str, Array]) -> Self:
        """See `Network.given`."""
        return type(self)(self._tensors, derived)

    def logits(self, lookups: Lookups) -> Floats:
        """What the first layer has in common for all pairs is done once."""
        user, item = self._user[lookups.users], self._items.of(lookups.items)
        history = means(self._items.of(lookups.history), np.diff(lookups.offsets))
        weights, biases = self._layers[0]
        of_user, of_history, of_item = np.split(weights, [user.shape[1], user.shape[1] + item.shape[1]])
        hidden: Floats = (user @ of_user + history @ of_history + biases) + item @ of_item
        for weights, biases in self._layers[1:]:
            hidden = np.maximum(hidden, _ZERO) @ weights + biases
        return hidden[:, 0]

    def for_user(self, user: int, history: Rows) -> ForUser:
        """See `Network.for_user`. Ordered by logits: probabilities near 0 and 1 have lost their differences."""
        own = np.zeros(len(self._of_user), np.float32)
        width = self._user.shape[1]
        own[:width] = self._user[user]
        if len(history):
            np.add.reduce(self._items.of(history), axis=0, out=own[width:])
            own[width:] /= np.float32(len(history))
        share = own @ self._of_user
        share += self._layers[0][1]
        return ForUser(partial(self._order, share[:, None]), sigmoid)

    def _order(self, share: Floats, items: Rows | slice) -> Floats:
        count = items.stop - items.start if isinstance(items, slice) else len(items)
        layers = SCRATCH.layers(self._widths, count)
        if self._first_layer is not None and isinstance(items, slice):
            np.add(self._first_layer[:, items], share, out=layers[0])
        else:
            np.dot(self._of_item, self._items.of(items).T, out=layers[0])
            np.add(layers[0], share, out=layers[0])
        for (weights, biases), inputs, outputs in zip(self._further, layers, layers[1:], strict=False):
            np.maximum(inputs, _ZERO, out=inputs)
            np.dot(weights, inputs, out=outputs)
            np.add(outputs, biases, out=outputs)
        logits: Floats = layers[-1][0].copy()  # the scratch is another request's soon
        return logits


def _blocks(count: int) -> Iterator[slice]:
    return (slice(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK))


def _layers(names: Mapping[str, object]) -> int:
    """How many layers in a row the tensors' names have, counted from w1."""
    count = 0
    while f"parameters.w{count + 1}" in names:
        count += 1
    return count

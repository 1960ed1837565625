"""Matrix factorization in numpy: user · item + bias of the user + bias of the item + bias."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_app.serving.networks.network import (
    Floats,
    ForUser,
    Lookups,
    NumpyNetwork,
    Rows,
    same_width,
    sigmoid,
    taken_table,
)
from stream_app.versions.fitness import taken
from stream_app.versions.tensors import Array, TensorSpec


class MatrixFactorizationNetwork(NumpyNetwork):
    """Per kind of id a float32 table of width d and one of width 1, and one number; histories change nothing."""

    def __init__(self, tensors: Mapping[str, Array], derived: Mapping[str, Array] | None = None) -> None:
        self._user, self._item = np.asarray(tensors["parameters.user"]), np.asarray(tensors["parameters.item"])
        self._user_bias = np.asarray(tensors["parameters.user_bias"])
        self._item_bias = np.asarray(tensors["parameters.item_bias"])
        self._bias = tensors["parameters.bias"]

    @staticmethod
    def check(specs: dict[str, TensorSpec], rows: Mapping[str, int]) -> None:
        """Both tables have one common width, the biases are one column."""
        users, items = taken_table(specs, "user", rows["users"]), taken_table(specs, "item", rows["items"])
        same_width({users, items})
        for table, column in (("user_bias", "users"), ("item_bias", "items")):
            if (width := taken_table(specs, table, rows[column])) != 1:
                raise ValueError(f"table {table} has {width} columns, expected 1")
        if (shape := taken(specs, "parameters.bias", "F32", 1).shape) != (1,):
            raise ValueError(f"bias has {shape[0]} numbers, expected 1")

    def logits(self, lookups: Lookups) -> Floats:
        """A product of rows, and three biases."""
        product = (self._user[lookups.users] * self._item[lookups.items]).sum(axis=1, keepdims=True)
        biases = self._user_bias[lookups.users] + self._item_bias[lookups.items] + self._bias
        logits: Floats = product + biases
        return logits[:, 0]

    def for_user(self, user: int, history: Rows) -> ForUser:
        """See `Network.for_user`. Ordered by logits: probabilities near 0 and 1 have lost their differences."""
        own, bias = self._user[user], self._user_bias[user] + self._bias

        def order(items: Rows | slice) -> Floats:
            logits: Floats = self._item[items] @ own
            logits += self._item_bias[items][:, 0]
            logits += bias
            return logits

        return ForUser(order, sigmoid)

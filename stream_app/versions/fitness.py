"""Whether a version that is complete and undamaged is also a model that can be served.

Two steps, because the first needs the manifest only and can refuse a version before its chunks are collected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stream_app.errors import SchemaMismatch
from stream_app.versions.columns import (
    HISTORIES_UNTIL,
    check_histories,
    item_categories_from_tensors,
)
from stream_app.versions.distinct import check_ids
from stream_app.versions.manifest import Content
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import Array, TensorSpec

_BLOCK = 1 << 18  # values

CheckParameters = Callable[[dict[str, TensorSpec], Mapping[str, int]], None]
"""`NumpyNetwork.check` of `stream_app.serving`: takes a base model's tensors out of the specs, given the rows of each
kind of id."""


def taken(specs: dict[str, TensorSpec], name: str, dtype: str, rank: int) -> TensorSpec:
    """Take the tensor `name` out of `specs`. Raises ValueError when it is of another type, KeyError without it."""
    spec = specs.pop(name)
    if spec.dtype != dtype or len(spec.shape) != rank:
        raise ValueError(f"tensor {name} is {spec.dtype}{list(spec.shape)}, expected {dtype} with {rank} dimensions")
    return spec


def check_tensors(content: Content, check: CheckParameters) -> None:
    """Raises SchemaMismatch unless the tensors are the vocabularies, with categories the columns that say which an item
    has, in format 3 the histories, and what `check` takes; and nothing else."""
    specs = {tensor.name: tensor.spec for tensor in content.tensors}
    try:
        rows = {column: _vocabulary_size(specs, column, kind) + 1 for column, kind in _vocabularies(content).items()}
        if "categories" in rows:
            taken(specs, "item_categories.rows", "I32", 1)
            if taken(specs, "item_categories.offsets", "I64", 1).shape[0] != rows["items"]:
                raise ValueError(f"item_categories has not one offset more than the {rows['items'] - 1} items")
        if content.format == 3:
            _take_histories(specs, content, rows["users"] - 1)
        check(specs, rows)
        if specs:
            raise ValueError(f"tensor {min(specs)} has no place in {content.learning.get('base_model')}")
    except (ValueError, KeyError) as error:
        missing = f"tensor {error} is missing" if isinstance(error, KeyError) else str(error)
        raise SchemaMismatch(content.version, missing) from error


def check_values(version: ModelVersion) -> None:
    """Raises SchemaMismatch unless all parameters are finite, every id of a vocabulary has one row, and the items'
    categories and the users' histories are rows of their vocabularies."""
    for name, array in version.tensors.items():
        if array.dtype.kind == "f" and not _finite(array.reshape(-1)):
            raise SchemaMismatch(version.number, f"tensor {name} has values that are not finite")
    try:
        sizes = {column: check_ids(column, version.tensors) for column in _vocabularies(version.content)}
        if "categories" in sizes:
            item_categories_from_tensors(version.tensors, sizes["categories"])
        if version.content.format == 3:
            check_histories(version.tensors, sizes["items"])
    except ValueError as error:
        raise SchemaMismatch(version.number, str(error)) from error


def _take_histories(specs: dict[str, TensorSpec], content: Content, users: int) -> None:
    taken(specs, "histories.rows", "I32", 1)
    for name, dtype, more in (("offsets", "I64", 1), ("newest", "U8", 0)):
        if (length := taken(specs, f"histories.{name}", dtype, 1).shape[0]) != users + more:
            raise ValueError(f"histories.{name} has {length} entries for {users} users, expected {users + more}")
    until = content.learning.get(HISTORIES_UNTIL)
    if type(until) is not int or not -(2**63) <= until < 2**63:
        raise ValueError(f"learning.{HISTORIES_UNTIL} is {until!r}, no time")


def _finite(values: Array) -> bool:
    """By blocks: the answers of all at once would be a quarter of the model."""
    return all(np.isfinite(values[begin : begin + _BLOCK]).all() for begin in range(0, len(values), _BLOCK))


def _vocabularies(content: Content) -> dict[str, str]:
    """The type of the ids of each vocabulary: "users" and "items", maybe "categories"."""
    named: dict[str, str | None] = content.vocabulary.model_dump()
    return {column: kind for column, kind in named.items() if kind is not None}


def _vocabulary_size(specs: dict[str, TensorSpec], column: str, kind: str) -> int:
    if kind == "int":
        return taken(specs, f"vocabulary.{column}", "I64", 1).shape[0]
    taken(specs, f"vocabulary.{column}.bytes", "U8", 1)
    return taken(specs, f"vocabulary.{column}.offsets", "I64", 1).shape[0] - 1

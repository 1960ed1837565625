"""Whether a version that is complete and undamaged is also a model that can be served.

Two steps, because the first needs the manifest only and can refuse a version before its chunks are collected.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_app.errors import SchemaMismatch
from stream_app.versions.columns import distinct, ids_from_tensors, item_categories_from_tensors
from stream_app.versions.manifest import Content
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import TensorSpec

BASE_MODELS = ("embedding-mlp",)
TABLES = {"user": "users", "item": "items", "category": "categories"}
"""Table -> its vocabulary; the last one only in a version whose model looks up categories."""


def check_shapes(content: Content) -> None:
    """Raises SchemaMismatch unless the tensors are exactly those of the base model that the content names.

    Embedding & MLP: a float32 table per kind of id with one row more than its vocabulary (row 0 is the cold row) and
    one common width d; layers w1, b1, w2, b2, ... that lead from 3 d inputs, 5 d with categories, to one output; with
    categories also the columns that say which an item has.
    """
    model = content.learning.get("base_model")
    if model not in BASE_MODELS:
        raise SchemaMismatch(content.version, f"base model {model!r} is not one of {', '.join(BASE_MODELS)}")
    specs = {tensor.name: tensor.spec for tensor in content.tensors}
    try:
        width = _check_tables(content, specs)
        _check_layers(specs, inputs=(3 if content.vocabulary.categories is None else 5) * width)
        if specs:
            raise ValueError(f"tensor {min(specs)} has no place in {model}")
    except (ValueError, KeyError) as error:
        missing = f"tensor {error} is missing" if isinstance(error, KeyError) else str(error)
        raise SchemaMismatch(content.version, missing) from error


def check_values(version: ModelVersion) -> None:
    """Raises SchemaMismatch unless all parameters are finite, every id of a vocabulary has one row, and the items'
    categories are rows of the vocabulary's."""
    for name, array in version.tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SchemaMismatch(version.number, f"tensor {name} has values that are not finite")
    try:
        sizes = {column: _checked_ids(column, version) for column in _tables(version.content).values()}
        if "categories" in sizes:
            item_categories_from_tensors(version.tensors, sizes["categories"])
    except ValueError as error:
        raise SchemaMismatch(version.number, str(error)) from error


def _tables(content: Content) -> dict[str, str]:
    """The tables that the version has, and the vocabulary of each."""
    return {table: column for table, column in TABLES.items() if getattr(content.vocabulary, column) is not None}


def _checked_ids(column: str, version: ModelVersion) -> int:
    """How many ids a vocabulary has. Raises ValueError unless they are different ids."""
    ids = ids_from_tensors(column, version.tensors)
    if not distinct(ids):
        raise ValueError(f"vocabulary of {column} has the same id twice")
    return len(ids)


def _check_tables(content: Content, specs: dict[str, TensorSpec]) -> int:
    """Takes the tables, vocabularies and the items' categories out of `specs`; returns the width."""
    widths, sizes = set(), {}
    for table, column in _tables(content).items():
        kind: str = getattr(content.vocabulary, column)
        sizes[column] = _vocabulary_size(specs, column, kind)
        rows = sizes[column] + 1
        parameters = _taken(specs, f"parameters.{table}", "F32", 2)
        if parameters.shape[0] != rows:
            raise ValueError(f"table {table} has {parameters.shape[0]} rows, its vocabulary needs {rows}")
        widths.add(parameters.shape[1])
    if "categories" in sizes:
        _taken(specs, "item_categories.rows", "I32", 1)
        if _taken(specs, "item_categories.offsets", "I64", 1).shape[0] != sizes["items"] + 1:
            raise ValueError(f"item_categories has not one offset more than the {sizes['items']} items")
    if len(widths) != 1 or 0 in widths:
        raise ValueError(f"tables have widths {sorted(widths)}, expected one and the same")
    return widths.pop()


def _vocabulary_size(specs: dict[str, TensorSpec], column: str, kind: str) -> int:
    if kind == "int":
        return _taken(specs, f"vocabulary.{column}", "I64", 1).shape[0]
    _taken(specs, f"vocabulary.{column}.bytes", "U8", 1)
    return _taken(specs, f"vocabulary.{column}.offsets", "I64", 1).shape[0] - 1


def _check_layers(specs: dict[str, TensorSpec], inputs: int) -> None:
    for layer in range(1, layers(specs) + 1):
        weights = _taken(specs, f"parameters.w{layer}", "F32", 2)
        biases = _taken(specs, f"parameters.b{layer}", "F32", 1)
        if weights.shape[0] != inputs or biases.shape != weights.shape[1:]:
            raise ValueError(f"layer {layer} has {weights.shape} weights and {biases.shape} biases for {inputs} inputs")
        inputs = weights.shape[1]
    if inputs != 1:
        raise ValueError(f"the last layer has {inputs} outputs, expected 1")


def layers(names: Mapping[str, object]) -> int:
    """How many layers in a row the tensors' names have, counted from w1."""
    count = 0
    while f"parameters.w{count + 1}" in names:
        count += 1
    return count


def _taken(specs: dict[str, TensorSpec], name: str, dtype: str, rank: int) -> TensorSpec:
    spec = specs.pop(name)
    if spec.dtype != dtype or len(spec.shape) != rank:
        raise ValueError(f"tensor {name} is {spec.dtype}{list(spec.shape)}, expected {dtype} with {rank} dimensions")
    return spec

"""Whether a version that is complete and undamaged is also a model that can be served.

Two steps, because the first needs the manifest only and can refuse a version before its chunks are collected.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream_app.errors import SchemaMismatch
from stream_app.versions.columns import distinct, ids_from_tensors
from stream_app.versions.manifest import Content
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import TensorSpec

BASE_MODELS = ("embedding-mlp",)
TABLES = {"user": "users", "item": "items"}


def check_shapes(content: Content) -> None:
    """Raises SchemaMismatch unless the tensors are exactly those of the base model that the content names.

    Embedding & MLP: a float32 table per kind of id with one row more than its vocabulary (row 0 is the cold row) and
    one common width d; layers w1, b1, w2, b2, ... that lead from 3 d inputs to one output.
    """
    model = content.learning.get("base_model")
    if model not in BASE_MODELS:
        raise SchemaMismatch(content.version, f"base model {model!r} is not one of {', '.join(BASE_MODELS)}")
    specs = {tensor.name: tensor.spec for tensor in content.tensors}
    try:
        width = _check_tables(content, specs)
        _check_layers(specs, inputs=3 * width)
        if specs:
            raise ValueError(f"tensor {min(specs)} has no place in {model}")
    except (ValueError, KeyError) as error:
        missing = f"tensor {error} is missing" if isinstance(error, KeyError) else str(error)
        raise SchemaMismatch(content.version, missing) from error


def check_values(version: ModelVersion) -> None:
    """Raises SchemaMismatch unless all parameters are finite and every id of a vocabulary has one row."""
    for name, array in version.tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SchemaMismatch(version.number, f"tensor {name} has values that are not finite")
    for table in TABLES.values():
        try:
            ids = ids_from_tensors(table, version.tensors)
        except ValueError as error:
            raise SchemaMismatch(version.number, str(error)) from error
        if not distinct(ids):
            raise SchemaMismatch(version.number, f"vocabulary of {table} has the same id twice")


def _check_tables(content: Content, specs: dict[str, TensorSpec]) -> int:
    """Takes the tables and vocabularies out of `specs`; returns the width."""
    widths = set()
    for table, column in TABLES.items():
        kind: str = getattr(content.vocabulary, column)
        rows = _vocabulary_size(specs, column, kind) + 1
        parameters = _taken(specs, f"parameters.{table}", "F32", 2)
        if parameters.shape[0] != rows:
            raise ValueError(f"table {table} has {parameters.shape[0]} rows, its vocabulary needs {rows}")
        widths.add(parameters.shape[1])
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

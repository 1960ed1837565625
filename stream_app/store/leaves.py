"""Named leaves of a state (`models.tree`) as a small description plus blocks, and back.

Tensors and arrays are cut at whole rows, as the tensors of a model version are, so that a table that a version and a
snapshot share is stored once, and a block changes only when one of its rows does. Numbers and strings stand in the
description itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.tree import Leaf
from stream_app.errors import StoreCorrupted
from stream_app.store.description import Description, entry_bytes
from stream_app.versions.tensors import CHUNK_BYTES, parts

Put = Callable[[memoryview], bytes]
"""Keeps a part and returns its digest."""

_DTYPES: Mapping[str, Any] = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}
"""What a leaf may hold; tensors and arrays alike, little-endian in the store."""


def describe(leaves: Mapping[str, Leaf], put: Put) -> Description:
    """Hand every part of every leaf to `put` and return what `rebuild` needs. Tensors may lie on any device.

    Raises ValueError, naming the leaf, for a type that cannot be kept.
    """
    described: Description = []
    for path, leaf in leaves.items():
        if isinstance(leaf, torch.Tensor):
            described.append({"path": path, "kind": "tensor", **_columns(path, leaf.detach().cpu().numpy(), put)})
        elif isinstance(leaf, np.ndarray):
            described.append({"path": path, "kind": "array", **_columns(path, leaf, put)})
        elif leaf is None or isinstance(leaf, bool | int | float | str):
            described.append({"path": path, "value": leaf})
        else:
            raise ValueError(f"{path} is a {type(leaf).__name__}, which the store does not keep")
    return described


def rebuild(described: Description, block: Callable[[bytes], bytes]) -> dict[str, Leaf]:
    """The leaves that `describe` took apart: tensors on the CPU, all of them writable and independent.

    Raises StoreCorrupted when blocks and shape do not fit.
    """
    leaves: dict[str, Leaf] = {}
    for entry in described:
        if "value" in entry:
            leaves[entry["path"]] = entry["value"]
            continue
        array = _array(entry, block)
        leaves[entry["path"]] = torch.from_numpy(array) if entry["kind"] == "tensor" else array
    return leaves


def _columns(path: str, array: NDArray[Any], put: Put) -> dict[str, Any]:
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"{path} holds {array.dtype}, which the store does not keep")
    own = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    whole_rows = own.ndim > 0 and len(own) > 0 and own.nbytes // len(own) <= CHUNK_BYTES
    cut = parts(own if whole_rows else own.reshape(-1))
    return {"dtype": array.dtype.name, "shape": list(array.shape), "blocks": [put(part) for part in cut]}


def _array(entry: Mapping[str, Any], block: Callable[[bytes], bytes]) -> NDArray[Any]:
    data = bytearray(entry_bytes(entry))
    begin = 0
    for digest in entry["blocks"]:
        part = block(digest)
        if begin + len(part) > len(data):
            raise StoreCorrupted(f"{entry['path']}: its blocks are larger than its shape {entry['shape']}")
        data[begin : begin + len(part)] = part
        begin += len(part)
    if begin != len(data):
        raise StoreCorrupted(f"{entry['path']}: its blocks are smaller than its shape {entry['shape']}")
    return np.frombuffer(data, np.dtype(entry["dtype"]).newbyteorder("<")).reshape(entry["shape"])

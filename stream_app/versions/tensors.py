"""Named arrays as chunks whose concatenation is one safetensors file.

The format itself (8 bytes header length, JSON header, data without holes) is that of the safetensors project's README.
Ours on top of it: the header is the first chunk and is fully determined by the list of tensors, so that a reader
compares it instead of parsing it; every tensor starts a new chunk and is cut at whole rows, so that unchanged rows
are unchanged chunks; a chunk is hashed once, and a tensor's digest is the SHA-256 over the raw digests of its chunks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Buffer = bytes | memoryview

CHUNK_BYTES = 900_000
"""The largest chunk: it travels as one Kafka message below the usual limit of 1 MB."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
}
"""The safetensors names of the types that a version may hold, always little-endian."""


class TensorSpec(NamedTuple):
    """A tensor without its values: name, a key of `DTYPES`, shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @staticmethod
    def of(name: str, array: Array) -> TensorSpec:
        """Raises ValueError when the array's type is not one of `DTYPES`."""
        for dtype, ours in DTYPES.items():
            if array.dtype == ours:
                return TensorSpec(name, dtype, array.shape)
        raise ValueError(f"tensor {name}: type {array.dtype} is not one of {', '.join(map(str, DTYPES.values()))}")

    @property
    def nbytes(self) -> int:
        """Exact for any shape: Python's integers do not overflow."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of one step along the first dimension; a scalar is one row."""
        return math.prod(self.shape[1:]) * DTYPES[self.dtype].itemsize


def ordered(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The order in a version: wide types first (each tensor is then aligned to its type), then by name."""
    return dict(sorted(tensors.items(), key=lambda pair: (-pair[1].dtype.itemsize, pair[0])))


def header(specs: Iterable[TensorSpec]) -> bytes:
    """The first chunk: length and JSON header of the tensors in the order given, filled with spaces to 8 bytes."""
    described: dict[str, Any] = {}
    end = 0
    for spec in specs:
        begin, end = end, end + spec.nbytes
        described[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [begin, end]}
    text = json.dumps(described, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def parts(array: Array) -> Iterator[memoryview]:
    """The bytes of a C-contiguous array in order, as many whole rows as fit into `CHUNK_BYTES` at a time; no copies.

    An array without elements has no parts. Raises ValueError when a single row is too large.
    """
    if array.size == 0:
        return
    flat = array.reshape(-1).view(np.uint8)
    row_bytes = array.nbytes // (array.shape[0] if array.ndim else 1)
    if row_bytes > CHUNK_BYTES:
        raise ValueError(f"a row of {row_bytes} bytes does not fit into a chunk of {CHUNK_BYTES}")
    step = CHUNK_BYTES // row_bytes * row_bytes
    for begin in range(0, array.nbytes, step):
        yield flat[begin : begin + step].data


def joined(spec: TensorSpec, chunks: Iterable[Buffer]) -> Array:
    """The array made of `chunks`, which the caller has checked to have `spec.nbytes` bytes together. Read-only.

    A tensor of one chunk is a view of it; of a larger one, each chunk may be freed as soon as the next is asked for.
    """
    dtype, taken = DTYPES[spec.dtype], iter(chunks)
    first = next(taken, b"")
    if len(first) == spec.nbytes:
        array = np.frombuffer(first, dtype).reshape(spec.shape)
    else:
        array = np.empty(spec.shape, dtype)
        flat, begin = array.reshape(-1).view(np.uint8), len(first)
        flat[:begin] = np.frombuffer(first, np.uint8)
        for chunk in taken:
            flat[begin : begin + len(chunk)] = np.frombuffer(chunk, np.uint8)
            begin += len(chunk)
    array.flags.writeable = False
    return array


def viewed(spec: TensorSpec, data: Buffer, begin: int) -> Array:
    """The array whose bytes begin at `begin` of `data`. Read-only; copied only where another order of the tensors than
    that of `ordered` leaves it unaligned."""
    array = np.frombuffer(data, DTYPES[spec.dtype], math.prod(spec.shape), begin).reshape(spec.shape)
    return np.require(array, requirements=["ALIGNED"])


def digest_of_chunks(digests: Iterable[bytes]) -> str:
    """A tensor's digest (hex): SHA-256 over its chunks' raw SHA-256 digests in order."""
    return hashlib.sha256(b"".join(digests)).hexdigest()

"""A safetensors file as read-only arrays: hashed once, then mapped, so that all processes share the same memory.

It is hashed through `read` and not through the map: a disk that cannot give a page is then an error that is refused,
where a map would end the process (SIGBUS).
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Sequence
from io import FileIO

import numpy as np

from stream_app.errors import DigestMismatch
from stream_app.versions.tensors import DTYPES, Array, TensorSpec, header

_BLOCK = 1 << 20

Piece = tuple[int, str]
"""Bytes and their SHA-256 in hex."""


def mapped(file: FileIO, name: str, specs: Sequence[TensorSpec], pieces: Iterable[Piece]) -> dict[str, Array]:
    """The arrays of an open file, good as long as one of them lives, whatever becomes of the file's name.

    specs: of all its tensors in order; pieces: the whole file. Raises DigestMismatch unless it is just that.
    """
    begin = len(header(specs))
    size, there = begin + sum(spec.nbytes for spec in specs), os.fstat(file.fileno()).st_size
    if there != size:
        raise DigestMismatch(None, f"{name} has {there} bytes, not {size}")
    _verify(file, name, pieces)
    whole = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    arrays = {}
    for spec in specs:
        flat = np.frombuffer(whole, np.uint8, spec.nbytes, begin)
        arrays[spec.name] = flat.view(DTYPES[spec.dtype]).reshape(spec.shape)
        begin += spec.nbytes
    return arrays


def _verify(file: FileIO, name: str, pieces: Iterable[Piece]) -> None:
    """Hashing and reading let other threads run."""
    block = memoryview(bytearray(_BLOCK))
    for index, (size, expected) in enumerate(pieces):
        digest = hashlib.sha256()
        while size:
            count = file.readinto(block[:size]) or 0
            if not count:
                raise DigestMismatch(None, f"{name} ends early")
            digest.update(block[:count])
            size -= count
        if digest.hexdigest() != expected:
            raise DigestMismatch(None, f"{name}: chunk {index} is not the one that its digest names")

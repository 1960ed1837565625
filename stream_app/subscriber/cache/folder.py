"""One version's folder in a cache: how it is written, and how it is verified and mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stream_app.errors import DigestMismatch, VersionRejected
from stream_app.serving.derived import LAYOUT
from stream_app.sinks.directory import MANIFEST, TENSORS
from stream_app.sinks.durable import sync_folder, write_synced
from stream_app.subscriber.cache.mapped import mapped
from stream_app.subscriber.cache.records import Current, DerivedSeal
from stream_app.versions.manifest import MANIFEST_BYTES
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import Array, Buffer, TensorSpec, header, ordered

DERIVED = "derived.safetensors"
SEAL = "derived.msgpack"

Check = Callable[[Manifest], None]
"""Raises VersionRejected when a manifest is not one that the caller serves; called before anything is hashed."""


class Found(NamedTuple):
    """What a folder holds; `derived` is None where another release has made it, which serves otherwise."""

    version: ModelVersion
    manifest: Manifest
    derived: Mapping[str, Array] | None


def write_folder(folder: Path, version: ModelVersion, manifest: Manifest, derived: Mapping[str, Array]) -> None:
    """Makes `folder`; all of it is on the disk when this returns, but for its name."""
    folder.mkdir()
    write_synced(folder / TENSORS, (chunk for _, chunk, _ in version.chunks()))
    _write_derived(folder, version.digest, ordered(derived))
    write_synced(folder / MANIFEST, [Manifest.pack(manifest.content_bytes, manifest.envelope)])
    sync_folder(folder)


def read_folder(path: Path, current: Current, check: Check) -> Found:
    """The version that `current` names, mapped from its folder in `path`.

    Raises VersionRejected when anything is not what it should be, FileNotFoundError when folder or file is not there.
    """
    place = path / current.folder
    try:
        with _opened(place) as folder:
            return _read(folder, place, current, check)
    except VersionRejected as refusal:
        raise type(refusal)(current.version, refusal.problem) from refusal


def _read(folder: int, place: Path, current: Current, check: Check) -> Found:
    with _file(folder, MANIFEST) as file:
        manifest = Manifest.unpack(file.read(MANIFEST_BYTES + 1), current.version)
    if manifest.digest != current.digest:
        raise DigestMismatch(None, f"{place} holds {manifest.digest}, not {current.digest}")
    check(manifest)
    content = manifest.content
    with _file(folder, TENSORS) as file:
        specs = [tensor.spec for tensor in content.tensors]
        pieces = ((chunk.size, chunk.digest) for chunk in content.chunks)
        tensors = mapped(file, f"{place}/{TENSORS}", specs, pieces)
    version = ModelVersion(content, manifest.content_bytes, tensors)
    return Found(version, manifest, _read_derived(folder, place, current))


def _write_derived(folder: Path, digest: str, arrays: Mapping[str, Array]) -> None:
    specs = [TensorSpec.of(name, array) for name, array in arrays.items()]
    hashed = hashlib.sha256()

    def pieces() -> Iterator[Buffer]:
        flat = (np.asarray(array, order="C").reshape(-1).view(np.uint8).data for array in arrays.values())
        for piece in chain[Buffer]([header(specs)], flat):
            hashed.update(piece)
            yield piece

    write_synced(folder / DERIVED, pieces())
    seal = {"of": digest, "layout": LAYOUT, "tensors": tuple(specs), "digest": hashed.hexdigest()}
    write_synced(folder / SEAL, [DerivedSeal.model_validate(seal).pack()])


def _read_derived(folder: int, place: Path, current: Current) -> Mapping[str, Array] | None:
    with _file(folder, SEAL) as file:
        seal = DerivedSeal.unpack(file.read(MANIFEST_BYTES), f"{place}/{SEAL}")
    if seal.of != current.digest:
        raise DigestMismatch(None, f"{place}/{SEAL} is of another version")
    if seal.layout != LAYOUT:
        return None
    with _file(folder, DERIVED) as file:
        specs = seal.specs
        size = len(header(specs)) + sum(spec.nbytes for spec in specs)
        return mapped(file, f"{place}/{DERIVED}", specs, [(size, seal.digest)])


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A descriptor of the folder: all files then are those of one folder, also when it is being removed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _file(folder: int, name: str) -> FileIO:
    return FileIO(os.open(name, os.O_RDONLY, dir_fd=folder))

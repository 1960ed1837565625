"""A version taken out of what lies in a place, whole and verified, whatever else is there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from stream_app.errors import SchemaMismatch, VersionRejected
from stream_app.versions.messages import Key, Manifest, Message
from stream_app.versions.model_version import ModelVersion, load
from stream_app.versions.tensors import Buffer


class Kept(NamedTuple):
    """A version, and the manifest it was sent with."""

    version: ModelVersion
    manifest: Manifest


def taken_out(log: Iterable[Message], numbers: Collection[int]) -> dict[int, Kept]:
    """Of a topic's messages, in their order, the versions of these numbers that are there; their chunks are held.

    Raises VersionRejected for one that is not whole and undamaged; signatures are not looked at.
    """
    manifests: dict[int, bytes] = {}
    chunks: dict[Key, bytes] = {}
    for raw, value in log:
        try:
            key = Key.parse(raw)
        except SchemaMismatch:
            continue  # no version's
        if key.version not in numbers:
            continue
        if key.chunk is None:
            manifests.pop(key.version, None)
            if value is not None:
                manifests[key.version] = value
        elif value is not None:
            chunks[key] = value
        else:
            chunks.pop(key, None)
    return {number: _loaded(number, value, chunks) for number, value in manifests.items()}


def _loaded(number: int, value: bytes, chunks: dict[Key, bytes]) -> Kept:
    manifest = Manifest.unpack(value, number)
    try:
        return Kept(load(manifest.content_bytes, _listed(manifest, chunks)), manifest)
    except VersionRejected as refusal:
        raise type(refusal)(number, refusal.problem) from refusal


def _listed(manifest: Manifest, chunks: dict[Key, bytes]) -> Iterator[Buffer]:
    """The chunks in order; what is missing is left out, and `load` says that it is."""
    for entry in manifest.content.chunks:
        chunk = chunks.pop(Key(manifest.content.version, entry.index, entry.digest[:16]), None)
        if chunk is not None:
            yield chunk

"""ModelVersion: a serving model with its identity, the same whether it comes from a trainer, a store or a topic."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stream_app.errors import DigestMismatch
from stream_app.versions.columns import kinds_of_ids
from stream_app.versions.manifest import (
    CONTENT_BYTES,
    ChunkEntry,
    Content,
    Envelope,
    Period,
    Plain,
    Rows,
    Scores,
    TensorEntry,
    Vocabulary,
    format_of,
)
from stream_app.versions.messages import Manifest, chunk_key, manifest_key
from stream_app.versions.tensors import (
    Array,
    Buffer,
    TensorSpec,
    digest_of_chunks,
    header,
    joined,
    ordered,
    parts,
    viewed,
)


@dataclass(frozen=True, eq=False)
class ModelVersion:
    """Content, its bytes, and the tensors it names (read-only arrays, in the content's order).

    Made by `build` or `load`.
    """

    content: Content
    content_bytes: bytes
    tensors: Mapping[str, Array]

    def __repr__(self) -> str:
        """For logs: all of it would be a screen of tensors for each line."""
        return f"<ModelVersion {self.number} {self.digest[:12]}>"

    @property
    def number(self) -> int:
        """1 for the first version of a run."""
        return self.content.version

    @cached_property
    def digest(self) -> str:
        """*The* digest of the version: SHA-256 (hex) of its content bytes."""
        return hashlib.sha256(self.content_bytes).hexdigest()

    def chunks(self) -> Iterator[tuple[int, Buffer, bytes]]:
        """(index, bytes, raw SHA-256 digest) of every chunk in order, the safetensors header first.

        Nothing is hashed and no tensor is copied: the bytes are views, good as long as this version lives.
        """
        data = _cut(self.tensors)
        for entry, chunk in zip(self.content.chunks, data, strict=True):
            yield entry.index, chunk, bytes.fromhex(entry.digest)

    def messages(self, envelope: Envelope) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in the order to send: the chunks, then the manifest that makes them a version."""
        for entry, chunk in zip(self.content.chunks, _cut(self.tensors), strict=True):
            yield chunk_key(self.number, entry.index, entry.digest), bytes(chunk)
        yield manifest_key(self.number), Manifest.pack(self.content_bytes, envelope)


def build(
    number: int,
    parent_digest: str,
    period: Period,
    rows: Rows,
    learning: Mapping[str, Plain],
    machine: Mapping[str, str],
    metrics: Mapping[str, Mapping[str, float | None] | None],
    decisions: Mapping[str, Any],
    tensors: Mapping[str, Array],
) -> ModelVersion:
    """A new version from numbers, plain values and arrays (C order and little-endian, else they are copied).

    parent_digest: digest of the version before, "" for the first. metrics: per candidate a mapping with any of auc,
    log_loss, auc_seen_items, log_loss_seen_items (NaN becomes null), or None. tensors: `parameters.*` and the columns
    of `columns.py`. The arrays are hashed once and must not change afterwards. Raises ValueError.
    """
    own = {name: _frozen(array) for name, array in ordered(tensors).items()}
    entries, chunks = _described(own)
    kinds = kinds_of_ids(own)
    content = Content(
        format=format_of(own, kinds),
        version=number,
        parent=parent_digest,
        period=period,
        rows=rows,
        learning=_sorted(learning),
        machine=_sorted(machine),
        metrics={name: None if scores is None else Scores(**scores) for name, scores in sorted(metrics.items())},
        decisions=_sorted(decisions),
        tensors=entries,
        chunks=chunks,
        vocabulary=Vocabulary.model_validate(kinds),
    )
    content_bytes = content.pack()
    if len(content_bytes) > CONTENT_BYTES:
        raise ValueError(f"content of {len(content_bytes)} bytes; a manifest has room for {CONTENT_BYTES}")
    return ModelVersion(content, content_bytes, own)


def load(content_bytes: bytes, chunks: Iterable[Buffer]) -> ModelVersion:
    """A version from what a store or directory holds: its content bytes and all its chunks in order.

    Raises SchemaMismatch when the content is not one, DigestMismatch when a chunk is missing or not the one named.
    """
    content = Content.unpack(content_bytes)
    return join(content, content_bytes, _verified(content, chunks))


def join(content: Content, content_bytes: bytes, verified: Iterable[Buffer]) -> ModelVersion:
    """A version from chunks, in order, whose digests the caller has compared with `content` already.

    Raises DigestMismatch when one has not the size that is listed: a digest alone does not say that the list is right.
    """
    chunks = _sized(content, verified)
    next(chunks, None)  # the header: `Content` has made sure that it says what `content.tensors` says
    tensors = {entry.name: joined(entry.spec, (next(chunks) for _ in range(entry.chunks))) for entry in content.tensors}
    return ModelVersion(content, content_bytes, tensors)


def view(content: Content, content_bytes: bytes, data: Buffer) -> ModelVersion:
    """A version from its safetensors file, whose chunks the caller has compared with `content` already: no copies."""
    begin, tensors = content.chunks[0].size, dict[str, Array]()
    for entry in content.tensors:
        tensors[entry.name] = viewed(entry.spec, data, begin)
        begin += entry.spec.nbytes
    return ModelVersion(content, content_bytes, tensors)


def _described(tensors: Mapping[str, Array]) -> tuple[tuple[TensorEntry, ...], tuple[ChunkEntry, ...]]:
    """The only place where a version's bytes are hashed."""
    specs = [TensorSpec.of(name, array) for name, array in tensors.items()]
    chunks = [_chunk_entry(0, header(specs))]
    entries = []
    for spec in specs:
        own = [_chunk_entry(len(chunks) + nth, part) for nth, part in enumerate(parts(tensors[spec.name]))]
        chunks += own
        digest = digest_of_chunks(bytes.fromhex(chunk.digest) for chunk in own)
        entries.append(TensorEntry(**spec._asdict(), digest=digest, chunks=len(own)))
    return tuple(entries), tuple(chunks)


def _chunk_entry(index: int, chunk: Buffer) -> ChunkEntry:
    return ChunkEntry(index=index, size=len(chunk), digest=hashlib.sha256(chunk).hexdigest())


def _verified(content: Content, chunks: Iterable[Buffer]) -> Iterator[Buffer]:
    given = iter(chunks)
    for entry in content.chunks:
        chunk = next(given, None)
        if chunk is None or hashlib.sha256(chunk).hexdigest() != entry.digest:
            raise DigestMismatch(
                content.version, f"chunk {entry.index} is missing or not the one that its content names"
            )
        yield chunk


def _sized(content: Content, chunks: Iterable[Buffer]) -> Iterator[Buffer]:
    for entry, chunk in zip(content.chunks, chunks, strict=True):
        if len(chunk) != entry.size:
            raise DigestMismatch(content.version, f"chunk {entry.index} has {len(chunk)} bytes, not {entry.size}")
        yield chunk


def _cut(tensors: Mapping[str, Array]) -> Iterator[Buffer]:
    yield header(TensorSpec.of(name, array) for name, array in tensors.items())
    for array in tensors.values():
        yield from parts(array)


def _frozen(array: Array) -> Array:
    """A read-only view in the layout that is hashed; a 0-d array stays 0-d."""
    own = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C").view()
    own.flags.writeable = False
    return own


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys in order at every level, lists as tuples: equal values give equal bytes, however they were put together."""
    return {key: _plain(value) for key, value in sorted(values.items())}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _sorted(value)
    return tuple(value) if isinstance(value, list) else value

"""Model versions in the store: waiting for the sink until they are published, kept for a while after that.

A version's chunks are blocks like those of the snapshots, so that a table that both hold lies there once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stream_app.errors import StoreCorrupted, VersionRejected
from stream_app.store.blocks import read_block
from stream_app.store.database import Database
from stream_app.store.layout import numbered
from stream_app.store.records import VERSION, read_record, seal
from stream_app.versions.manifest import Content
from stream_app.versions.model_version import ModelVersion, load


@dataclass(frozen=True)
class Sources:
    """Where a version comes from; goes into its envelope, never into its content.

    offsets: next offset of each source partition when its period closed; late: rows that came late in the period;
    closed: Kafka's timestamp (ms) of the segments record with which it closed, None in a replay.
    """

    offsets: Mapping[int, int]
    late: int = 0
    closed: int | None = None


@dataclass(frozen=True)
class Waiting:
    """A version in the outbox, with what its envelope will say."""

    version: ModelVersion
    sources: Sources


@dataclass(frozen=True)
class VersionEntry:
    """A line of `asmg versions list`: all but the tensors. bytes: of all chunks together."""

    number: int
    digest: str
    bytes: int
    published: bool
    content: Content
    sources: Sources


def version_record(waiting: Waiting, put: Callable[[bytes | memoryview, bytes], bytes]) -> tuple[bytes, set[bytes]]:
    """Hand every chunk and its digest to `put`; return the record to name them by, and their digests."""
    chunks = {put(chunk, digest) for _, chunk, digest in waiting.version.chunks()}
    record = {
        "content": waiting.version.content_bytes,
        "digest": waiting.version.digest,
        "offsets": sorted(waiting.sources.offsets.items()),
        "late": waiting.sources.late,
        "closed": waiting.sources.closed,
    }
    return seal(record), chunks


def chunk_digests(database: Database, number: int) -> set[bytes]:
    """The blocks that version `number` names. Raises StoreCorrupted."""
    return {bytes.fromhex(chunk.digest) for chunk in _content(database, number, _record(database, number)).chunks}


def entry(database: Database, number: int, published: bool) -> VersionEntry:
    """What is known of version `number` without its tensors. Raises StoreCorrupted."""
    record = _record(database, number)
    content = _content(database, number, record)
    return VersionEntry(number, record["digest"], content.size, published, content, _sources(record))


def waiting(database: Database, number: int) -> Waiting:
    """Version `number` with its tensors, every chunk verified. Raises StoreCorrupted."""
    record = _record(database, number)
    content = _content(database, number, record)
    blocks = (read_block(database, bytes.fromhex(chunk.digest)) for chunk in content.chunks)
    return Waiting(load(record["content"], blocks), _sources(record))


def _record(database: Database, number: int) -> dict[str, Any]:
    record: dict[str, Any] = read_record(database, numbered(VERSION, number))
    return record


def _content(database: Database, number: int, record: Mapping[str, Any]) -> Content:
    try:
        return Content.unpack(record["content"])
    except VersionRejected as refusal:
        raise StoreCorrupted(f"{database.path}: version {number} cannot be read: {refusal.problem}") from refusal


def _sources(record: Mapping[str, Any]) -> Sources:
    return Sources(dict(record["offsets"]), record["late"], record["closed"])

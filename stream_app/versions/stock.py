"""What lies in a place for versions, whoever put it there; of chunks nothing is held but digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from stream_app.errors import SchemaMismatch
from stream_app.versions.messages import CONTROL_KEY, Key, Message
from stream_app.versions.tensors import Buffer


@dataclass
class Stock:
    """(number, value) of each manifest; under its key of each chunk how many bytes it has and their SHA-256; the value
    of the control record, None where there is none."""

    manifests: list[tuple[int, bytes]] = field(default_factory=list)
    chunks: dict[Key, tuple[int, str]] = field(default_factory=dict)
    control: bytes | None = None

    @property
    def numbers(self) -> list[int]:
        """Of the versions that have a manifest, in order."""
        return sorted({number for number, _ in self.manifests})

    def add_chunk(self, key: Key, chunk: Buffer) -> None:
        """Hash it, and forget it."""
        self.chunks[key] = (len(chunk), hashlib.sha256(chunk).hexdigest())


def stock_of(log: Iterable[Message]) -> Stock:
    """What is left of a topic's messages, in their order: the last one under each key holds, a tombstone takes it away.

    Messages that are neither a version's nor the control record are passed over.
    """
    manifests: dict[int, bytes] = {}
    stock = Stock()
    for raw, value in log:
        if raw == CONTROL_KEY:
            stock.control = value
            continue
        try:
            key = Key.parse(raw)
        except SchemaMismatch:
            continue
        if key.chunk is not None:
            stock.chunks.pop(key, None)
            if value is not None:
                stock.add_chunk(key, value)
        else:
            manifests.pop(key.version, None)
            if value is not None:
                manifests[key.version] = value
    stock.manifests = list(manifests.items())
    return stock

"""Content-addressed blocks: large values cut into pieces that are stored once, under the SHA-256 of their bytes.

Rules:
1. Parts first, name last: blocks are written in batches, and mean nothing until one small batch writes the records that
   name them. A process that dies in between leaves the old records and whole blocks, never a torn value.
2. A block that is there is not written again: what did not change costs its hash and nothing else.
3. Whatever may be without a name is noted in the same batch that makes it so (`pending/<n>`), so that the next opening
   finds what a crash left behind without reading the database.
4. A block is compared with its name whenever it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from stream_app.errors import StoreCorrupted
from stream_app.store.database import BATCH_LIMIT, Database
from stream_app.store.layout import end_of, numbered, pack, unpack

BLOCK = b"block/"
PENDING = b"pending/"


def block_key(digest: bytes) -> bytes:
    """Where the block with this (raw) SHA-256 lies."""
    return BLOCK + digest


def read_block(database: Database, digest: bytes) -> bytes:
    """The bytes of a block. Raises StoreCorrupted when it is missing or is not what its name says."""
    value = database.get(block_key(digest))
    if value is None:
        raise StoreCorrupted(f"{database.path}: block {digest.hex()[:16]} is missing")
    if hashlib.sha256(value).digest() != digest:
        raise StoreCorrupted(f"{database.path}: block {digest.hex()[:16]} is damaged")
    return value


class Blocks:
    """The blocks of a database that is open for writing; used by one thread at a time."""

    def __init__(self, database: Database, named: Iterable[bytes]) -> None:
        """`named`: the digests that the records in the database name. Blocks that a crash left unnamed are removed."""
        self._database = database
        self._named = set(named)
        self._fresh: set[bytes] = set()
        self._queue: dict[bytes, bytes] = {}
        self._queued = 0
        self._batches = 0
        self._remove_leftovers()

    def put(self, part: bytes | memoryview, digest: bytes | None = None) -> bytes:
        """Have `part` stored by the next `name`; returns its raw SHA-256, given as `digest` where that is known."""
        digest = digest or hashlib.sha256(part).digest()
        if digest not in self._named and digest not in self._fresh:
            if self._queued + len(part) > BATCH_LIMIT:
                self._flush()
            self._queue[digest] = bytes(part)
            self._queued += len(part)
            self._fresh.add(digest)
        return digest

    def name(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes], named: set[bytes]) -> None:
        """Write and delete records in one synced batch, after which exactly the blocks in `named` have a name.

        All other blocks, of records that this batch drops or of a commit that was given up, are then removed.
        """
        self._flush()
        unnamed = (self._named | self._fresh) - named
        noted = {numbered(PENDING, 0): pack(sorted(unnamed))} if unnamed else {}
        done = [numbered(PENDING, batch) for batch in range(len(noted), self._batches)]
        self._database.write({**puts, **noted}, [*deletes, *done])
        self._named, self._fresh, self._batches = set(named), set(), len(noted)
        if unnamed:
            self._remove(unnamed, [numbered(PENDING, 0)])

    def _flush(self) -> None:
        if self._queue:
            blocks = {block_key(digest): part for digest, part in self._queue.items()}
            blocks[numbered(PENDING, self._batches)] = pack(list(self._queue))
            self._database.write(blocks)
            self._queue, self._queued = {}, 0
            self._batches += 1

    def _remove_leftovers(self) -> None:
        keys = self._database.keys(PENDING, end_of(PENDING))
        noted: set[bytes] = set()
        for key in keys:
            noted.update(unpack(self._database.path, key, self._database.get(key) or b""))
        if keys:
            self._remove(noted - self._named, keys)

    def _remove(self, digests: Iterable[bytes], notes: Iterable[bytes]) -> None:
        self._database.write({}, [*map(block_key, digests), *notes])
        self._batches = 0

"""The small records of the trainer's database: sealed by their own digest, and the head that says which of them count.

| key | value |
|---|---|
| `head` | the last period done, the last version, and which of the records below are kept (`Head`) |
| `snapshot/<period>` | a learner state after that period: its leaves, by blocks |
| `checkpoint/<name>` | the leaves of something unfinished in the period in hand |
| `version/<number>` | a model version: content bytes, source offsets, late rows; its chunks are blocks |
| `block/<sha256>` | at most 900 KB of a tensor |
| `pending/<n>` | blocks that may have no name (`blocks`, rule 3) |

All but blocks begin with the SHA-256 of the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from stream_app.errors import StoreCorrupted
from stream_app.store.database import Database
from stream_app.store.layout import pack, unpack

HEAD = b"head"
SNAPSHOT = b"snapshot/"
CHECKPOINT = b"checkpoint/"
VERSION = b"version/"

_SEAL = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Head:
    """Where the trainer stands. Only what it lists exists; every commit replaces it in one batch with what it names.

    period: the last one done (0: none); version, digest: the last one made; published: the last one that the sink has.
    snapshots, versions: numbers kept, rising; checkpoints: names.
    """

    period: int = 0
    version: int = 0
    digest: str = ""
    published: int = 0
    snapshots: tuple[int, ...] = ()
    versions: tuple[int, ...] = ()
    checkpoints: tuple[str, ...] = ()

    @staticmethod
    def read(database: Database) -> Head:
        """The head of a database, the first one when nothing was committed yet. Raises StoreCorrupted."""
        if database.get(HEAD) is None:
            return Head()
        fields: dict[str, Any] = read_record(database, HEAD)
        for kept in ("snapshots", "versions", "checkpoints"):
            fields[kept] = tuple(fields[kept])
        return Head(**fields)

    def seal(self) -> bytes:
        """The record of this head."""
        return seal(asdict(self))


def seal(value: Any) -> bytes:
    """`value` as a record that shows any later change of a byte."""
    packed = pack(value)
    return hashlib.sha256(packed).digest() + packed


def read_record(database: Database, key: bytes) -> Any:
    """What was sealed under `key`. Raises StoreCorrupted when it is missing or not what was written."""
    record = database.get(key)
    if record is None:
        raise StoreCorrupted(f"{database.path}: record {key!r} is missing")
    if hashlib.sha256(record[_SEAL:]).digest() != record[:_SEAL]:
        raise StoreCorrupted(f"{database.path}: record {key!r} is damaged")
    return unpack(database.path, key, record[_SEAL:])

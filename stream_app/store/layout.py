"""What lies where in the two databases, and how either is opened.

Both carry a record `format` {kind, format} and a record `fixed`, the settings that may not change during a run.
Numbers in keys are big-endian, so that the order of the keys is the order of the numbers.

Journal (written by the window process):

| key | value (msgpack) |
|---|---|
| `state` | where the journal stands: position in the segments topic, counters (`journal.JournalState`) |
| `mark/<partition>` | where a source partition stands (`events.watermark.PartitionMark`) |
| `rows/<chunk>` | columns of rows in their order of arrival, <= 900 KB (`chunks.Chunk`) |
| `index/<chunk>` | smallest and largest assigned time and number of rows of that chunk |
| `period/<number>` | a CLOSED period and the chunks that hold its rows |
| `late/<n>` | late rows until the dead-letter topic has them, <= 900 KB (`late_outbox.LateRows`) |

The keys of the other database stand beside the code that uses them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from stream_app.errors import IncompatibleState, StoreCorrupted
from stream_app.store.database import Database, exists

FORMATS = {"journal": (1, 2), "store": (2,)}
"""Format numbers that are read, by kind of database; the last is written.

Journal 2: run and topic ids in the state, late rows that wait. Store 2: what an update method may remember of its own;
one of format 1 says nothing of users seen before, and no state can be made from it.
"""

STATE = b"state"
MARK = b"mark/"
ROWS = b"rows/"
INDEX = b"index/"
PERIOD = b"period/"
LATE = b"late/"

_FORMAT_KEY = b"format"
_FIXED_KEY = b"fixed"
_NUMBER_BYTES = 8


def numbered(prefix: bytes, number: int) -> bytes:
    """The key of the `number`-th record (>= 0) under `prefix`."""
    return prefix + number.to_bytes(_NUMBER_BYTES, "big")


def number_of(key: bytes) -> int:
    """The number in a key that `numbered` made."""
    return int.from_bytes(key[-_NUMBER_BYTES:], "big")


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that start with `prefix`: the end of a scan over them."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def pack(value: Any) -> bytes:
    """`value` (plain numbers, strings, bytes, lists, maps) as msgpack."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(path: Path, key: bytes, value: bytes) -> Any:
    """What `pack` made into `value`. Raises StoreCorrupted naming database and key."""
    try:
        return msgpack.unpackb(value, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise StoreCorrupted(f"{path}: record {key!r} cannot be read: {error}") from error


def create_or_open(path: Path, kind: str, fixed: Mapping[str, Any]) -> Database:
    """Open the database at `path` for writing, or make it.

    kind: "journal" or "store"; fixed: settings (JSON values) that a later opening must repeat.
    Raises IncompatibleState (another kind, an unknown format, another value of a fixed setting: the database is
    left as it is), StoreLocked, StoreCorrupted.
    """
    if exists(path):  # looked at before it is opened for writing, because that alone would change its files
        probe = Database.open(path, read_only=True)
        try:
            if _identified(probe, kind):
                check_fixed(probe, fixed)
        finally:
            probe.close()
    database = Database.open(path)
    identity = pack({"kind": kind, "format": FORMATS[kind][-1]})
    if database.get(_FORMAT_KEY) is None:
        database.write({_FORMAT_KEY: identity, _FIXED_KEY: json.dumps(dict(fixed)).encode()})
    elif database.get(_FORMAT_KEY) != identity:
        database.write({_FORMAT_KEY: identity})  # from here on an older release would misread it
    return database


def open_beside(path: Path, kind: str) -> Database | None:
    """Open the database at `path` for reading, also while another process writes it; None while it is not there yet.

    Raises IncompatibleState, StoreCorrupted.
    """
    if not exists(path):
        return None
    database = Database.open(path, read_only=True)
    try:
        if _identified(database, kind):
            return database
    except Exception:
        database.close()
        raise
    database.close()
    return None


def kind_of(database: Database) -> str | None:
    """What a database says it is, of whatever format; None when it says nothing. Raises StoreCorrupted."""
    value = database.get(_FORMAT_KEY)
    found = None if value is None else unpack(database.path, _FORMAT_KEY, value)
    return str(found.get("kind")) if isinstance(found, dict) else None


def fixed_settings(database: Database) -> dict[str, Any]:
    """The settings given when the database was made."""
    value = database.get(_FIXED_KEY)
    if value is None:
        raise StoreCorrupted(f"{database.path}: the record of its settings is gone")
    settings: dict[str, Any] = json.loads(value)
    return settings


def _identified(database: Database, kind: str) -> bool:
    """True for our database of that kind, False for one whose making was interrupted before its first record."""
    value = database.get(_FORMAT_KEY)
    if value is None:
        if next(database.scan(b"", b"\xff"), None) is None:
            return False
        raise IncompatibleState(f"{database.path}: a RocksDB database, but not one of asmg-stream")
    found = unpack(database.path, _FORMAT_KEY, value)
    if not isinstance(found, dict) or found.get("kind") != kind or found.get("format") not in FORMATS[kind]:
        raise IncompatibleState(
            f"{database.path}: holds {found}, this program reads kind {kind!r} of the formats {FORMATS[kind]}; "
            "use the release that wrote it, or begin anew with --new-run"
        )
    return True


def check_fixed(database: Database, fixed: Mapping[str, Any]) -> None:
    """Raises IncompatibleState, naming setting, old and new value, when the database was made with other settings."""
    old, new = fixed_settings(database), json.loads(json.dumps(dict(fixed)))
    for key in sorted(old.keys() | new.keys()):
        if key not in old or key not in new or old[key] != new[key]:
            raise IncompatibleState(
                f"{database.path}: {key} was {old.get(key, 'not set')!r} when this state directory was made and is "
                f"{new.get(key, 'not set')!r} now; set it back, or begin anew with --new-run"
            )

"""One RocksDB database as the store uses it: bytes in, bytes out, and errors that say what to do.

1. A write is one batch, all of it or nothing, and it is on disk (synced) when `write` returns.
2. Values stay below 1 MB and batches below 10 MB: rocksdict holds the GIL while it writes, also during the sync.
3. One process writes. Any number may read beside it: a reader sees the state as of its opening, until `refresh`.
4. Damage is reported (`StoreCorrupted`), never repaired and never taken for an empty database.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rocksdict import (
    AccessType,
    DbClosedError,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from stream_app.errors import StopTheLine, StoreCorrupted, StoreLocked, disk_refusal

VALUE_LIMIT = 900_000
"""Bytes that a value may have: rule 2, with room for its key and header."""

BATCH_LIMIT = 8_000_000
"""Bytes that a batch may have: rule 2."""

_WRITE_BUFFER = 16 << 20
_OPEN_ATTEMPTS = 10  # the writer may delete a file between a reader's listing and opening of it
_OPEN_PAUSE = 0.05


class Database:
    """An open database; made by `Database.open`, used by one thread at a time for writing."""

    def __init__(self, path: Path, rdict: Rdict, read_only: bool) -> None:
        self.path, self.read_only = path, read_only
        self._rdict = rdict
        self._seen: frozenset[tuple[str, int, int]] = frozenset()
        self._durable = WriteOptions()
        self._durable.sync = True

    @classmethod
    def open(cls, path: Path, read_only: bool = False) -> Database:
        """Open the database in directory `path`; a writer makes it when it is not there.

        Raises StoreLocked (another writer has it), StoreCorrupted (files are missing or damaged).
        """
        if read_only:
            seen = _listing(path)  # taken before opening: what is written in between is seen by the next refresh
            database = cls(path, _open_beside_writer(path), read_only)
            database._seen = seen
            return database
        path.mkdir(parents=True, exist_ok=True)
        with translated(path):
            return cls(path, Rdict(str(path), options=_options()), read_only)

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, None when there is none. Raises StoreCorrupted."""
        with translated(self.path):
            value: bytes | None = self._rdict.get(key)
            return value

    def scan(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values from `first` up to, not including, `end`, in the order of the keys. Raises StoreCorrupted.

        Exhaust or close the iterator before the database is closed: an open one keeps the lock.
        """
        with translated(self.path):
            rows = self._rdict.iter(ReadOptions())
            rows.seek(first)
            while rows.valid() and (key := rows.key()) < end:
                yield key, rows.value()
                rows.next()
            rows.status()  # an iterator that met damage just ends; only its status says so

    def keys(self, first: bytes, end: bytes) -> list[bytes]:
        """The keys from `first` up to, not including, `end`, without reading their values. Raises StoreCorrupted."""
        found = []
        with translated(self.path):
            rows = self._rdict.iter(ReadOptions())
            rows.seek(first)
            while rows.valid() and (key := rows.key()) < end:
                found.append(key)
                rows.next()
            rows.status()
        return found

    def last_key(self, first: bytes, end: bytes) -> bytes | None:
        """The largest key from `first` up to, not including, `end`; None when there is none. Raises StoreCorrupted."""
        with translated(self.path):
            rows = self._rdict.iter(ReadOptions())
            rows.seek_for_prev(end)
            if rows.valid() and rows.key() == end:
                rows.prev()
            rows.status()
            key: bytes | None = rows.key() if rows.valid() else None
            return key if key is not None and key >= first else None

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes] = ()) -> None:
        """Put and delete in one synced batch: all of it, or nothing when the process or the machine dies."""
        batch = WriteBatch(raw_mode=True)
        for key, value in puts.items():
            batch.put(key, value)
        for key in deletes:
            batch.delete(key)
        with translated(self.path):
            self._rdict.write(batch, self._durable)

    def refresh(self) -> bool:
        """Let a reader see what the writer has written since; False when there is nothing new (found in 0.1 ms).

        The database is opened again (3 to 40 ms): RocksDB's own way, a secondary instance with
        `try_catch_up_with_primary`, gave old values of single keys beside new ones after a compaction.
        """
        if not self.read_only:
            return False  # the writer sees what it writes
        seen = _listing(self.path)
        if seen == self._seen:
            return False
        fresh = _open_beside_writer(self.path)
        self.close()
        self._rdict, self._seen = fresh, seen
        return True

    def close(self) -> None:
        """Give the database back; nothing is lost, every write is already synced. Closing twice does nothing.

        After a failed write RocksDB complains once more; what matters has been raised then.
        """
        with suppress(Exception):
            self._rdict.close()


def exists(path: Path) -> bool:
    """Whether a database has been made in directory `path`; StoreCorrupted when only its data files are there."""
    if (path / "CURRENT").exists():
        return True
    if any(path.glob("*.sst")):
        raise StoreCorrupted(f"{path}: the file CURRENT is gone, but data files are there")
    return False


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what rocksdict raises into errors that name `path` and the remedy; mistakes of ours pass.

    Raises DiskRefuses, StoreLocked, StoreCorrupted, StopTheLine; MemoryError, which a new process may not meet again.
    """
    try:
        yield
    except DbClosedError as error:
        raise StopTheLine(f"{path}: the database was closed after an error; start again") from error
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, OSError):
            raise  # rocksdict raises the bare class, or what the system said; a TypeError is a mistake of ours
        problem = str(error)
        if refusal := disk_refusal(path, problem):
            raise refusal from error
        if os.strerror(errno.ENOMEM) in problem:
            raise MemoryError(f"{path}: {problem}") from error
        if problem.startswith(("IO error: While lock file", "IO error: lock hold")):
            raise StoreLocked(path) from error
        if problem.startswith(("Corruption", "IO error: No such file")):
            raise StoreCorrupted(f"{path}: {problem}") from error
        raise StopTheLine(f"{path}: {problem}") from error


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER)
    options.set_compression_type(DBCompressionType.zstd())
    options.set_keep_log_file_num(2)
    return options


def _open_beside_writer(path: Path) -> Rdict:
    for attempt in range(_OPEN_ATTEMPTS):
        try:
            with translated(path):
                return Rdict(str(path), options=_options(), access_type=AccessType.read_only(False))
        except StopTheLine:
            if attempt == _OPEN_ATTEMPTS - 1 or not exists(path):
                raise
        time.sleep(_OPEN_PAUSE)
    raise AssertionError("unreachable")


def _listing(path: Path) -> frozenset[tuple[str, int, int]]:
    """Names, sizes and times of the files that every write changes (the log) or replaces (manifest, CURRENT)."""
    found = set()
    for file in path.iterdir():
        if file.suffix == ".log" or file.name.startswith(("MANIFEST", "CURRENT")):
            try:
                status = file.stat()
            except FileNotFoundError:  # the writer has just removed it: the listing differs anyway
                continue
            found.add((file.name, status.st_size, status.st_mtime_ns))
    return frozenset(found)

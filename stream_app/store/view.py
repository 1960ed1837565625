"""What is in the trainer's database, for whoever may only look: command line, status, and `Store` itself.

Needs no torch: who wants the tensors of a state opens a `Store`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stream_app.store import outbox
from stream_app.store.database import Database
from stream_app.store.description import Description, digests, total_bytes
from stream_app.store.layout import fixed_settings, numbered, open_beside
from stream_app.store.outbox import VersionEntry, Waiting
from stream_app.store.records import CHECKPOINT, SNAPSHOT, Head, read_record

KIND = "store"
"""What the database says it is."""


@dataclass(frozen=True)
class SnapshotEntry:
    """A line of `asmg snapshots list`: the state after `period`; bytes of its arrays, blocks they lie in, leaves."""

    period: int
    bytes: int
    blocks: int
    leaves: int


class StoreView:
    """The store as of its opening or the last `refresh`; a context manager that closes it.

    Every record and block is compared with its digest when it is read: all reading raises StoreCorrupted.
    """

    def __init__(self, path: Path, database: Database | None) -> None:
        self.path = path
        self._database = database
        self._head = Head() if database is None else Head.read(database)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Look at the store in directory `path`, also while the trainer writes it; empty while it is not there yet.

        Raises IncompatibleState, StoreCorrupted.
        """
        database = open_beside(path, KIND)
        try:
            return cls(path, database)
        except Exception:
            if database is not None:
                database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the database back; what was committed is on disk already."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def refresh(self) -> bool:
        """See what has been committed since; False when there is nothing new."""
        if self._database is None:
            self._database = open_beside(self.path, KIND)
            changed = self._database is not None
        else:
            changed = self._database.refresh()
        if changed:
            self._head = Head.read(self._opened)
        return changed

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings given when the store was made; empty for a store that is not there yet."""
        return {} if self._database is None else fixed_settings(self._database)

    @property
    def last_period(self) -> int:
        """Number of the last period that is done, 0 before the first."""
        return self._head.period

    @property
    def last_published(self) -> int:
        """Number of the last version that the sink has, 0 before the first."""
        return self._head.published

    def head(self) -> tuple[int, str] | None:
        """(number, digest) of the last version made, None before the first."""
        return (self._head.version, self._head.digest) if self._head.version else None

    def next_version(self) -> int:
        """Number of the version to be made next."""
        return self._head.version + 1

    def snapshots(self) -> list[SnapshotEntry]:
        """The states kept, oldest first."""
        entries = []
        for period in self._head.snapshots:
            described = self._description(numbered(SNAPSHOT, period))
            blocks = len(set(digests(described)))
            entries.append(SnapshotEntry(period, total_bytes(described), blocks, len(described)))
        return entries

    def versions(self) -> list[VersionEntry]:
        """The versions kept, oldest first; those in the outbox are not published yet."""
        return [outbox.entry(self._opened, n, n <= self._head.published) for n in self._head.versions]

    def version(self, number: int) -> Waiting | None:
        """A version that is kept, with its tensors; None when it is not."""
        return outbox.waiting(self._opened, number) if number in self._head.versions else None

    def outbox(self) -> Iterator[Waiting]:
        """The versions not published, in order, each read when it is its turn; new ones join at the end."""
        after = self._head.published
        while (number := min((n for n in self._head.versions if n > after), default=None)) is not None:
            yield outbox.waiting(self._opened, number)
            after = number

    @property
    def _opened(self) -> Database:
        if self._database is None:
            raise ValueError(f"{self.path}: the store is closed")
        return self._database

    def _description(self, key: bytes) -> Description:
        described: Description = read_record(self._opened, key)
        return described


def checkpoint_key(name: str) -> bytes:
    """Where the checkpoint of that name lies."""
    return CHECKPOINT + name.encode()

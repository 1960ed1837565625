"""The trainer's database: learner states, what is unfinished, and the outbox of model versions.

Rules:
1. A period is done when its state and its version are named, both in one synced batch; until then it is not done.
2. A version that is not published is never dropped; snapshots and published versions are, the oldest first, in the
   batch that makes them superfluous.
3. One process writes, from any of its threads; others look through a `StoreView`.
4. It knows neither the types of the learner nor what a version means: named leaves in, named leaves out.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from models.tree import Leaf
from stream_app.store import outbox
from stream_app.store.blocks import Blocks, read_block
from stream_app.store.database import Database
from stream_app.store.description import digests
from stream_app.store.layout import create_or_open, numbered
from stream_app.store.leaves import describe, rebuild
from stream_app.store.outbox import Sources, Waiting
from stream_app.store.records import HEAD, SNAPSHOT, VERSION, Head, seal
from stream_app.store.view import KIND, StoreView, checkpoint_key
from stream_app.versions.model_version import ModelVersion

KEEP_SNAPSHOTS = 4
KEEP_VERSIONS = 8


class Store(StoreView):
    """The store, open for writing: what `StoreView` shows, and what changes it."""

    def __init__(self, path: Path, database: Database, keep: int, keep_versions: int) -> None:
        super().__init__(path, database)
        self._keep, self._keep_versions = keep, keep_versions
        self._lock = threading.RLock()
        self._named = self._all_named()
        self._blocks = Blocks(database, set().union(*self._named.values()))

    @classmethod
    def open(
        cls,
        path: Path,
        fixed: Mapping[str, Any] | None = None,
        keep: int = KEEP_SNAPSHOTS,
        keep_versions: int = KEEP_VERSIONS,
    ) -> Self:
        """Open or make the store in directory `path`; what a crash left half-written is removed.

        fixed: learning settings (JSON values) that every later opening must repeat. keep: snapshots kept, at least
        one more than the longest method looks back; keep_versions: published versions kept.
        Raises IncompatibleState (naming the setting, its old and its new value), StoreLocked, StoreCorrupted.
        """
        if keep < 1 or keep_versions < 1:
            raise ValueError("at least one snapshot and one version are kept")
        database = create_or_open(path, KIND, fixed or {})
        try:
            return cls(path, database, keep, keep_versions)
        except Exception:
            database.close()
            raise

    def state(self, period: int | None = None) -> dict[str, Leaf] | None:
        """The leaves of the last state, or of the snapshot kept for `period`; None when there is none."""
        kept = self._head.snapshots
        number = period if period is not None else max(kept, default=None)
        return self._leaves(numbered(SNAPSHOT, number)) if number is not None and number in kept else None

    def restore_checkpoint(self, name: str) -> dict[str, Leaf] | None:
        """The leaves last kept under `name` in the period in hand, None when there are none."""
        return self._leaves(checkpoint_key(name)) if name in self._head.checkpoints else None

    def commit(
        self,
        period: int,
        state: Mapping[str, Leaf] | None,
        version: ModelVersion | None = None,
        sources: Sources | None = None,
    ) -> None:
        """Make `period` done: its state, and its version in the outbox, all at once. Checkpoints end with it.

        state: None leaves the last state as it is (an empty period). Raises ValueError when the period is done
        already or the version does not follow the last one; StopTheLine when the disk fails.
        """
        with self._lock:
            head = self._head
            if period <= head.period:
                raise ValueError(f"period {period} is done already, the last one is {head.period}")
            if version is not None and (version.number, version.content.parent) != (head.version + 1, head.digest):
                raise ValueError(f"version {version.number} does not follow version {head.version} {head.digest[:16]}")
            puts, named = {}, {}
            after = replace(head, period=period, checkpoints=())
            if state is not None:
                key = numbered(SNAPSHOT, period)
                puts[key], named[key] = self._described(state)
                after = replace(after, snapshots=(*head.snapshots, period)[-self._keep :])
            if version is not None:
                key = numbered(VERSION, version.number)
                waiting = Waiting(version, sources or Sources({}))
                puts[key], named[key] = outbox.version_record(waiting, self._blocks.put)
                made = (*head.versions, version.number)
                after = replace(after, version=version.number, digest=version.digest, versions=made)
            self._name(after, puts, named)

    def checkpoint(self, name: str, leaves: Mapping[str, Leaf]) -> None:
        """Keep `leaves` under `name`, in place of what was there, until the period in hand is committed."""
        with self._lock:
            key = checkpoint_key(name)
            record, blocks = self._described(leaves)
            names = tuple(sorted({*self._head.checkpoints, name}))
            self._name(replace(self._head, checkpoints=names), {key: record}, {key: blocks})

    def published(self, number: int) -> None:
        """Note that the sink has all versions up to `number`, and drop those published longest ago."""
        with self._lock:
            head = self._head
            if not head.published <= number <= head.version:
                raise ValueError(f"version {number} is not between {head.published} and {head.version}")
            done = [n for n in head.versions if n <= number][-self._keep_versions :]
            left = (*done, *(n for n in head.versions if n > number))
            self._name(replace(head, published=number, versions=left), {}, {})

    def _described(self, leaves: Mapping[str, Leaf]) -> tuple[bytes, set[bytes]]:
        described = describe(leaves, self._blocks.put)
        return seal(described), set(digests(described))

    def _leaves(self, key: bytes) -> dict[str, Leaf]:
        return rebuild(self._description(key), lambda digest: read_block(self._opened, digest))

    def _name(self, head: Head, puts: Mapping[bytes, bytes], named: Mapping[bytes, set[bytes]]) -> None:
        """One synced batch: the new head, the records it adds, without the records it no longer lists."""
        keys = set(_record_keys(head))
        left = {key: blocks for key, blocks in {**self._named, **named}.items() if key in keys}
        dropped = self._named.keys() - keys
        self._blocks.name({**puts, HEAD: head.seal()}, dropped, set().union(*left.values()))
        self._head, self._named = head, left

    def _all_named(self) -> dict[bytes, set[bytes]]:
        versions = {numbered(VERSION, n): outbox.chunk_digests(self._opened, n) for n in self._head.versions}
        states = [key for key in _record_keys(self._head) if key not in versions]
        return {**versions, **{key: set(digests(self._description(key))) for key in states}}


def _record_keys(head: Head) -> list[bytes]:
    return [
        *(numbered(SNAPSHOT, period) for period in head.snapshots),
        *(numbered(VERSION, number) for number in head.versions),
        *(checkpoint_key(name) for name in head.checkpoints),
    ]

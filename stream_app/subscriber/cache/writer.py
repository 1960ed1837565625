"""CacheWriter: the one process that writes a cache. See the rules of the package."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Self

from stream_app.errors import CacheInUse, VersionRejected, on_disk
from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import MANIFEST
from stream_app.sinks.durable import remove, sync_folder, write_synced
from stream_app.subscriber.cache.folder import read_folder, write_folder
from stream_app.subscriber.cache.records import MOST_BEFORE, Current, is_folder_name
from stream_app.subscriber.forked import tell_when_forked
from stream_app.versions.manifest import MANIFEST_BYTES
from stream_app.versions.messages import Manifest

CURRENT = "current"
LOCK = "lock"
PATIENCE = 6.0
"""Seconds that the writer before us has to end."""
_WRITING, _REMOVING = ".writing-", ".removing-"
_POLL_SECONDS = 0.1


def read_current(path: Path) -> Current | None:
    """What is served of the cache in `path`; None before the first version.

    Raises VersionRejected (damaged, or a format that is not known), or OSError.
    """
    try:
        with (path / CURRENT).open("rb") as file:
            value = file.read(MANIFEST_BYTES)
    except FileNotFoundError:
        return None
    return Current.unpack(value, str(path / CURRENT))


class CacheWriter:
    """Writes the cache in `path`, which is made when it is not there; ends with `close`, or as a context.

    keep: how many folders before the current one stay; so the disk holds up to keep + 2 versions while one is written.
    One thread writes.
    """

    def __init__(self, path: str | Path, keep: int = 2) -> None:
        """Raises CacheInUse when another process writes there, DiskRefuses when it cannot be written."""
        if not 0 <= keep <= MOST_BEFORE:
            raise ValueError(f"keep is {keep}, expected 0 to {MOST_BEFORE}")
        self.path, self.keep = Path(path), keep
        with on_disk(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.path)
            tell_when_forked(self)
            try:
                self._remove_left()
            except OSError:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process write; this one must not any more."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def forked(self) -> None:
        """The lock would be held for as long as any process lives that was forked from the writer's."""
        self.close()

    def write(self, model: ServingModel, manifest: Manifest, pinned: int | None = None) -> None:
        """The version is what the cache serves when this returns; what is there whole already is not written again.

        Raises DiskRefuses; the version before is served then, and this may be called again.
        """
        if self._lock < 0:
            raise ValueError(f"the writer of {self.path} is closed, or of the process that this one was forked from")
        before, number, digest = self._current(), model.version.number, model.version.digest
        with on_disk(self.path):
            folder = self._there(model, manifest) or self._written(model, manifest)
            if before is None or before.folder != folder:
                known = () if before is None else (before.folder, *before.before)
                older = tuple(name for name in known if name != folder)[: self.keep]
                sync_folder(self.path)
                self._name(Current(folder=folder, version=number, digest=digest, before=older, pinned=pinned))
                self._remove_others({folder, *older})
        self.tell(pinned)

    def before(self) -> Iterator[Manifest]:
        """Of the versions that were served before the current one and are still there, oldest first."""
        current = self._current()
        for folder in reversed(current.before if current else ()):
            with suppress(VersionRejected, OSError):
                yield Manifest.unpack((self.path / folder / MANIFEST).read_bytes())

    def tell(self, pinned: int | None) -> None:
        """Says which version is pinned, if that has changed. Raises DiskRefuses."""
        current = self._current()
        if current is not None and current.pinned != pinned:
            with on_disk(self.path):
                self._name(current.model_copy(update={"pinned": pinned}))

    def _current(self) -> Current | None:
        """A damaged one is as none: it is replaced."""
        try:
            return read_current(self.path)
        except VersionRejected:
            return None

    def _there(self, model: ServingModel, manifest: Manifest) -> str | None:
        """The folder that holds just this version and sending, whole; None where none does."""
        number, digest = model.version.number, model.version.digest
        for name in filter(is_folder_name, (place.name for place in self.path.glob(f"{_name_of(model)}*"))):
            wanted = Current(folder=name, version=number, digest=digest)
            try:
                if read_folder(self.path, wanted, _accepting).manifest == manifest:
                    return name
            except (VersionRejected, OSError):
                continue  # whatever is the matter with it, a new one is written beside
        return None

    def _written(self, model: ServingModel, manifest: Manifest) -> str:
        """A new folder, under a name that nothing has."""
        name = base = _name_of(model)
        for suffix in count(2):
            if not (self.path / name).exists():
                break
            name = f"{base}.{suffix}"
        with _aside(self.path / name) as aside:
            write_folder(aside, model.version, manifest, model.derived)
        return name

    def _name(self, current: Current) -> None:
        with _aside(self.path / CURRENT) as aside:
            write_synced(aside, [current.pack()])
        sync_folder(self.path)

    def _remove_left(self) -> None:
        """What a killed writer left."""
        for left in self.path.iterdir():
            if left.name.startswith((_WRITING, _REMOVING)):
                remove(left)

    def _remove_others(self, known: set[str]) -> None:
        """First renamed: a folder that has its name is whole, whenever we are killed."""
        for place in self.path.iterdir():
            if is_folder_name(place.name) and place.name not in known:
                place.rename(self.path / f"{_REMOVING}{place.name}")
        self._remove_left()


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A hidden name for what then becomes `path`; what the disk refuses is removed, which makes room again."""
    aside = path.with_name(f"{_WRITING}{path.name}")
    try:
        yield aside
        aside.rename(path)
    except OSError:
        remove(aside)
        raise


def _accepting(manifest: Manifest) -> None:
    """We wrote it."""


def _name_of(model: ServingModel) -> str:
    return f"{model.version.number:06d}-{model.version.digest[:12]}"


def _locked(path: Path) -> int:
    """A descriptor that holds the lock; it ends with the process, however that ends."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise CacheInUse(path) from None
            time.sleep(_POLL_SECONDS)
        else:
            return lock

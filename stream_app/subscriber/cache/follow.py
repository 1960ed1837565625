"""FollowCache: the reading end of a cache. Needs no broker and no Kafka client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from stream_app.errors import DigestMismatch, SchemaMismatch, Unavailable, VersionRejected
from stream_app.serving.computing import Serving
from stream_app.serving.model import ServingModel
from stream_app.subscriber.cache.folder import Found, read_folder
from stream_app.subscriber.cache.records import Current
from stream_app.subscriber.cache.writer import CURRENT, read_current
from stream_app.subscriber.following import Arrival, News, Stage
from stream_app.versions.messages import Manifest
from stream_app.versions.signing import Keys

_Stamp = tuple[int, ...] | None


class FollowCache:
    """See `Following`. What is refused is not looked at again before `current` is another file."""

    outlives_fork = True
    lag: int | None = None

    def __init__(self, path: str | Path, model: str, serving: Serving, keys: Keys | None = None) -> None:
        """model: the name that versions must carry; keys: of those who may publish, None: of anybody."""
        self.path, self._model, self._serving, self._keys = Path(path), model, serving, keys
        self.pinned: int | None = None
        self._seen: _Stamp = ()
        self._folder = ""

    def poll(self, timeout: float) -> Iterator[News]:
        """See `Following.poll`."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                time.sleep(timeout)
            else:
                yield from self._news()
        except VersionRejected as refusal:
            yield refusal
        except OSError as error:
            raise Unavailable(f"cache {self.path}: {error.strerror or error}") from error
        self._seen = stamp

    def close(self) -> None:
        """Nothing is held open."""

    def _stamp(self) -> _Stamp:
        """Differs whenever `current` was renamed; None where it is not there."""
        try:
            looked = (self.path / CURRENT).stat()
        except FileNotFoundError:
            return None
        return looked.st_ino, looked.st_mtime_ns, looked.st_ctime_ns

    def _news(self) -> Iterator[News]:
        current = read_current(self.path)
        if current is None:
            yield Stage(f"cache {self.path} holds no version; `asmg subscribe --cache {self.path}` writes them")
            return
        self.pinned = current.pinned
        if current.folder == self._folder:
            return
        current, found = self._found(current)
        self.pinned = current.pinned
        yield Arrival(self._ready(found), found.manifest)
        self._folder = current.folder

    def _found(self, current: Current) -> tuple[Current, Found]:
        """What is current, and its folder, which goes only when it is current no more."""
        while True:
            try:
                return current, read_folder(self.path, current, self._check)
            except FileNotFoundError as gone:
                newer = read_current(self.path)
                if newer is None or newer.folder == current.folder:
                    place = self.path / current.folder
                    raise DigestMismatch(current.version, f"{place} lacks files, or is not there") from gone
                current = newer

    def _check(self, manifest: Manifest) -> None:
        content = manifest.content
        if self._keys is not None:
            self._keys.check(manifest)
        if manifest.envelope.model != self._model:
            raise SchemaMismatch(content.version, f"is of model {manifest.envelope.model!r}, not {self._model!r}")
        self._serving.check(content)

    def _ready(self, found: Found) -> ServingModel:
        return ServingModel(found.version, self._serving.network(found.version), found.derived)

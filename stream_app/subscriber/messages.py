"""Following a topic, or a directory of versions: messages through the `Assembler`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from stream_app.errors import VersionRejected
from stream_app.serving.computing import Serving
from stream_app.serving.model import ServingModel
from stream_app.sinks.protocol import VersionReader
from stream_app.subscriber.following import Arrival, News, Stage
from stream_app.versions.assembler import Assembler
from stream_app.versions.messages import PROGRESS_KEY, Manifest, Message, unpack_progress
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.signing import Keys


class FollowMessages:
    """See `Following`. What it knows outlives a lost connection: it begins anew, and the assembler knows what it had.

    Until it has caught up with what was there when it began, the newest version so far is held back and the others are
    dropped, so that nobody is served what is known to be old; two models at most are in memory then, that one and the
    one being assembled. When the connection is lost meanwhile, it is given out: an old version is better than none. Not
    so when it goes on after a restart, and there is one: what comes last may be that another is pinned.

    It begins anew when something is pinned or unpinned, and with everything that there is when what it was to find by
    a shorter way was not there. A pinned version that is not there either is told, and what is served stays.
    """

    outlives_fork = False

    def __init__(
        self,
        reader: Callable[[], VersionReader],
        model: str,
        serving: Serving,
        max_bytes: int,
        keys: Keys | None = None,
    ) -> None:
        """reader: opens the place; model: the name that versions must carry; keys: of those who
        may publish, None: of anybody."""
        self._open, self._model, self._serving = reader, model, serving
        self._assembler = Assembler(model, serving, max_bytes, keys)
        self._reader: VersionReader | None = None
        self.caught_up, self._resumed = False, False
        self._held: tuple[ModelVersion, Manifest] | None = None
        self._had = ""
        self.lag: int | None = None
        self.pinned: int | None = None

    def poll(self, timeout: float) -> Iterator[News]:
        """See `Following.poll`."""
        try:
            if self._reader is None:
                self._reader = self._open()
                self._begin(self._reader)
            yield from self._read(self._reader, timeout)
            self.lag = self._reader.lag()
        except Exception:
            if not self._resumed or self.caught_up:
                yield from self._released()
            raise
        if self.caught_up:
            yield from self._released()

    def resume(self, manifests: Iterable[Manifest]) -> None:
        """Goes on as if these had been served, oldest first, the last one still. Call it before the first `poll`."""
        self._assembler.resume(manifests)
        self._resumed = True

    def _read(self, reader: VersionReader, timeout: float) -> Iterator[News]:
        for message in reader.poll(timeout):
            before = self._assembler.pinned_digest
            yield from self._taken(message)
            if self._assembler.pinned_digest != before:
                return self._turn(reader)
        if not self.caught_up and reader.behind() == 0:
            if not (reader.whole or self._is_there(reader)):
                return self._begin(reader, whole=True)
            self.caught_up = True
            if (gap := self._assembler.gap_of_pin()) is not None:
                yield gap

    def _begin(self, reader: VersionReader, whole: bool = False) -> None:
        served = self._assembler.served
        self._had, self.caught_up = served.digest if served is not None else "", False
        reader.begin(self._assembler.pin, self._had, whole)

    def _turn(self, reader: VersionReader) -> None:
        """Something was pinned or unpinned."""
        pin = self._assembler.pin
        self.pinned = None if pin is None else pin.version
        self._begin(reader)

    def _is_there(self, reader: VersionReader) -> bool:
        """Whether what the reader began with has led to what it is to find."""
        if self._assembler.pin is not None:
            return self._assembler.sought is None
        served = self._assembler.served
        return served is not None and (served.digest == reader.newest or served.digest != self._had)

    def close(self) -> None:
        """See `Following.close`."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _taken(self, message: Message) -> Iterator[News]:
        key, value = message
        try:
            if key == PROGRESS_KEY and value is not None:
                yield Stage(unpack_progress(value, self._model))
                return
            version = self._assembler.feed(key, value)
        except VersionRejected as refusal:
            yield refusal
            return
        if version is not None:
            assert self._assembler.served is not None
            self._held = version, self._assembler.served
            if self.caught_up:
                yield from self._released()

    def _released(self) -> Iterator[News]:
        """What is held back, ready to score: from now on versions arrive as they come. While another one is pinned it
        stays back, and is there when that is over."""
        if self._held is None or self._assembler.pinned_digest not in ("", self._held[1].digest):
            return
        self.caught_up = True
        version, manifest = self._held
        try:
            news: News = Arrival(ServingModel(version, self._serving.network(version)), manifest)
        except VersionRejected as refusal:
            news = refusal
        self._held = None  # not where anything else was wrong, a want of memory perhaps: then it is tried again
        yield news

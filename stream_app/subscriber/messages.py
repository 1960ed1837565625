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
    """See `Following`. After a lost connection everything is read again; the assembler knows what it has had.

    Until it has caught up with what was there when it began, the newest version so far is held back and the others are
    dropped, so that nobody is served what is known to be old; two models at most are in memory then, that one and the
    one being assembled. When the connection is lost meanwhile, it is given out: an old version is better than none.
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
        """reader: opens the place, from its beginning on; model: the name that versions must carry; keys: of those who
        may publish, None: of anybody."""
        self._open, self._model, self._serving = reader, model, serving
        self._assembler = Assembler(model, serving, max_bytes, keys)
        self._reader: VersionReader | None = None
        self.caught_up = False
        self._held: tuple[ModelVersion, Manifest] | None = None
        self.lag: int | None = None
        self.pinned: int | None = None

    def poll(self, timeout: float) -> Iterator[News]:
        """See `Following.poll`."""
        try:
            if self._reader is None:
                self._reader = self._open()
            for message in self._reader.poll(timeout):
                yield from self._taken(message)
            self.caught_up = self.caught_up or not self._reader.behind()
            self.lag = self._reader.lag()
        except Exception:
            yield from self._released()
            raise
        if self.caught_up:
            yield from self._released()

    def resume(self, manifests: Iterable[Manifest]) -> None:
        """Goes on as if these had been served, oldest first, the last one still. Call it before the first `poll`."""
        self._assembler.resume(manifests)

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
        """What is held back, ready to score: from now on versions arrive as they come."""
        held, self._held = self._held, None
        if held is None:
            return
        self.caught_up = True
        version, manifest = held
        try:
            yield Arrival(ServingModel(version, self._serving.network(version)), manifest)
        except VersionRejected as refusal:
            yield refusal

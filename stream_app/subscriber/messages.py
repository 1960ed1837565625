"""Following a topic, or a directory of versions: messages through the `Assembler`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stream_app.errors import VersionRejected
from stream_app.serving.computing import Serving
from stream_app.serving.model import ServingModel
from stream_app.sinks.protocol import VersionReader
from stream_app.subscriber.following import Arrival, News, Stage
from stream_app.versions.assembler import Assembler
from stream_app.versions.messages import PROGRESS_KEY, Message, unpack_progress
from stream_app.versions.signing import Keys


class FollowMessages:
    """See `Following`. After a lost connection everything is read again; the assembler knows what it has had."""

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

    def poll(self, timeout: float) -> Iterator[News]:
        """See `Following.poll`."""
        if self._reader is None:
            self._reader = self._open()
        for message in self._reader.poll(timeout):
            yield from self._taken(message)

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
            if version is not None:
                assert self._assembler.served is not None
                yield Arrival(ServingModel(version, self._serving.network(version)), self._assembler.served)
        except VersionRejected as refusal:
            yield refusal

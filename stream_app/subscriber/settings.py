"""Where a subscriber finds versions, which it takes, and how old what it serves may be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stream_app.broker import KafkaSettings
from stream_app.serving.computing import Serving
from stream_app.sinks.directory import DirectorySink
from stream_app.sinks.protocol import VersionSink
from stream_app.subscriber.following import Following
from stream_app.subscriber.messages import FollowMessages
from stream_app.versions.assembler import MAX_BYTES
from stream_app.versions.signing import Keys

if TYPE_CHECKING:  # who needs no cache does not wait for it to be imported
    from stream_app.subscriber.cache import CacheWriter, KeepCache


@dataclass(frozen=True, kw_only=True)
class SubscriberPolicy:
    """What a settings file says of a subscriber, section `[subscriber]`.

    stale_after: seconds since a version was sent after which it counts as stale; None: never. when_stale: "serve" it
    all the same, which callbacks and `health()` tell, or "refuse". keys: public keys of those who may publish, PEM
    files or 32 bytes in base64; none: anybody may. cache: directory that one process fills (`asmg subscribe --cache`)
    and that all others follow, without a broker. Contradictions raise ValueError.
    """

    stale_after: float | None = None
    when_stale: Literal["serve", "refuse"] = "serve"
    keys: tuple[str, ...] = ()
    cache: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.keys, str):
            raise ValueError(f"keys is {self.keys!r}, expected several: [{self.keys!r}]")
        if self.stale_after is not None and not self.stale_after > 0:
            raise ValueError(f"stale_after is {self.stale_after:g}, expected seconds above 0, or none")
        if self.when_stale not in ("serve", "refuse"):
            raise ValueError(f"when_stale is {self.when_stale!r}, expected serve or refuse")
        if self.when_stale == "refuse" and self.stale_after is None:
            raise ValueError("when_stale is refuse, and stale_after does not say from when on")


@dataclass(frozen=True)
class SubscriberSettings(SubscriberPolicy):
    """Where versions come from: `topic` of `kafka`, or `directory` if given, or `cache`. `model`: the name that they
    must carry.

    Both a directory and a cache raise ValueError.

    max_bytes: largest version that is accepted, but from a cache. poll: seconds to wait for messages at a time, also
    how long a stop may take. Whose versions are taken and how old they may be: see `SubscriberPolicy`.
    """

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topic: str = "asmg-models"
    model: str = "default"
    directory: Path | None = None
    max_bytes: int = MAX_BYTES
    poll: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.directory is not None and self.cache is not None:
            raise ValueError(f"directory is {self.directory} and cache is {self.cache}: versions come from one of them")

    def following(self, serving: Serving) -> Following:
        """The place that is followed, not yet opened. `serving`: judges versions and makes them ready to score.

        Raises SettingsError naming a key that is none.
        """
        if self.cache is not None:
            from stream_app.subscriber.cache import FollowCache

            return FollowCache(self.cache, self.model, serving, Keys.of(self.keys))
        return self._messages(serving)

    def keeping(self, writer: CacheWriter, serving: Serving) -> KeepCache:
        """The topic or directory, while what arrives from there is kept in a cache. Raises as `following`."""
        from stream_app.subscriber.cache import KeepCache

        kept = replace(self, cache=writer.path, directory=None).following(serving)
        return KeepCache(writer, kept, self._messages(serving))

    def _messages(self, serving: Serving) -> FollowMessages:
        return FollowMessages(lambda: self.source().reader(), self.model, serving, self.max_bytes, Keys.of(self.keys))

    def source(self) -> VersionSink:
        """The place to read messages from."""
        if self.directory is not None:
            return DirectorySink(self.directory, self.model)
        from stream_app.sinks.kafka import KafkaSink  # the client takes half of the time that an import may take

        return KafkaSink(self.kafka, self.topic, self.model)

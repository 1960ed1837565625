"""KeepCache: follows a topic (or a directory), and keeps a cache of it for other processes and for its own restart."""

from __future__ import annotations

from collections.abc import Iterator

from stream_app.errors import DiskRefuses
from stream_app.subscriber.cache.writer import CacheWriter
from stream_app.subscriber.following import Arrival, Following, News, Stage
from stream_app.subscriber.messages import FollowMessages


class KeepCache:
    """See `Following`.

    1. It begins with what the cache holds, if that is whole: no broker is needed to have a version. The rules for what
       may come next go on from there, so that it neither goes back nor serves what an older publisher still says.
    2. A version is in the cache before it arrives here. One that the disk refuses waits, and is tried again first;
       `refused` says why, and the cache serves the one before.
    """

    outlives_fork = False

    def __init__(self, writer: CacheWriter, cache: Following, inner: FollowMessages) -> None:
        """`cache` reads what `writer` writes; `inner` follows the place that is kept, and has not begun."""
        self._writer, self._cache, self._inner = writer, cache, inner
        self._begun = False
        self.pinned: int | None = None
        self._waiting: Arrival | None = None
        self.refused: DiskRefuses | None = None

    @property
    def lag(self) -> int | None:
        """See `Following`."""
        return self._inner.lag

    def poll(self, timeout: float) -> Iterator[News]:
        """See `Following.poll`."""
        if not self._begun:
            yield from self._restored()
            self._begun = True
        if self._waiting is not None:
            yield self._kept(self._waiting)
        for news in self._inner.poll(timeout):
            yield self._kept(news) if isinstance(news, Arrival) else news
        self._heed()

    def close(self) -> None:
        """See `Following.close`."""
        self._inner.close()

    def _heed(self) -> None:
        """What is pinned is known when all has been read that was there; until then it is what the cache says."""
        if self._inner.caught_up:
            self.pinned = self._inner.pinned
            self._writer.tell(self.pinned)

    def _restored(self) -> Iterator[News]:
        for news in self._cache.poll(0):
            self.pinned = self._cache.pinned
            if isinstance(news, Arrival):
                self._inner.resume([*self._writer.before(), news.manifest])
            if not isinstance(news, Stage):
                yield news

    def _kept(self, arrival: Arrival) -> Arrival:
        self._waiting = arrival
        pinned = self._inner.pinned
        try:
            self._writer.write(arrival.model, arrival.manifest, pinned)
        except DiskRefuses as error:
            self.refused = error
            raise
        self._waiting, self.refused, self.pinned = None, None, pinned
        return arrival

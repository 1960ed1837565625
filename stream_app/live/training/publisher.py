"""The publishing thread of the trainer: versions go from the outbox to the topic while training goes on.

One that the broker has fenced gives its producer up and waits. If another worker has our window by now, Kafka says so
within its session timeout, and this publisher is closed or let go on later. If the window is still ours after that and
the topic has a newer epoch, two publishers have windows of their own: then this one ends, with exit code 3.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from stream_app.errors import Fenced, StopTheLine, Unavailable
from stream_app.events.record import MICROSECONDS
from stream_app.live.seeing import metrics
from stream_app.pipeline import publish
from stream_app.sinks.protocol import VersionSink
from stream_app.store.outbox import Waiting
from stream_app.store.states import Store
from stream_app.telemetry import event, utc, wall_clock

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
SETTLED_AFTER = 13.0
"""Seconds from a fencing to the verdict on it: the session timeout of the window (10), and a rebalance."""


class Publisher:
    """Publishes what waits in the outbox, in order, none skipped, and tries for ever while the broker is away.

    It dies with the process: a version is on the topic as a whole or not at all, and waits in the outbox until the
    store knows that it is there. confirm: raises Unavailable unless the broker says that the window is ours.
    """

    def __init__(self, store: Store, sink: VersionSink, model: str, run: str, confirm: Callable[[], None]) -> None:
        self._store, self._sink, self._model, self._run, self._confirm = store, sink, model, run, confirm
        self._woken, self._ended = threading.Event(), threading.Event()
        self._there = 0
        self._progress = ""
        self._announced = ""
        self._trained: dict[int, str] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._loop, name="publisher", daemon=True)

    def start(self) -> None:
        """Begins with what still waits from before."""
        self._woken.set()
        self._thread.start()

    def wake(self, progress: str = "", version: int | None = None) -> None:
        """Called after every update: `version` is new in the outbox; `progress` is told as long as there is none."""
        self._progress = progress
        if version is not None:
            self._trained[version] = utc(wall_clock())
        self._woken.set()

    def check(self) -> None:
        """Raises what has ended the thread: StopTheLine kinds, or a defect."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Ends the thread when it comes back from what it is doing, and gives the producer up."""
        self._ended.set()
        self._woken.set()
        self._thread.join()
        self._sink.close()

    def _loop(self) -> None:
        pause = FIRST_PAUSE
        step: Callable[[], object] = self._look
        while not self._ended.is_set():
            try:
                step()
                step, pause = self._send, FIRST_PAUSE
                self._woken.wait()
            except Fenced as fenced:
                event("publisher-fenced", "warning", topic=fenced.place, epoch=fenced.epoch)
                step = partial(self._settle, fenced)
                self._woken.set()
            except Unavailable as error:
                metrics.publishing_waits()
                event("publishing-waits", "warning", reason=str(error), seconds=pause)
                self._ended.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:
                self._error = error
                return

    def _look(self) -> None:
        head = self._sink.open()
        self._there = head.version if head.run == self._run else 0

    def _settle(self, fenced: Fenced) -> None:
        """Raises StopTheLine when the one that fenced us publishes although the window is ours."""
        if self._ended.wait(SETTLED_AFTER):
            return
        self._confirm()
        head = self._sink.open()
        if head.epoch > fenced.epoch:
            raise StopTheLine(
                f"{fenced.place}: a publisher of epoch {head.epoch} has taken over from this one (epoch "
                f"{fenced.epoch}), although this worker has a window: two workers publish model {self._model!r}, each "
                "with a window of its own; end one of them, or give both the same kafka.window_group"
            )

    def _send(self) -> None:
        if self._ended.is_set():
            return
        self._woken.clear()
        self._announce()
        publish(self._store, self._sink, self._model, self._run, self._times, self._sent)

    def _sent(self, sent: Waiting, seconds: float) -> None:
        version, period = sent.version, sent.version.content.period
        self._trained.pop(version.number, None)
        if version.number <= self._there:
            return event("version-is-there", version=version.number, period=period.number, digest=version.digest)
        now, closed = wall_clock(), sent.sources.closed
        age = max(0.0, now - (period.end - 1) / MICROSECONDS)
        metrics.version_published(version.content.size, age, None if closed is None else now - closed / 1000)
        return event(
            "version-published",
            version=version.number,
            period=period.number,
            digest=version.digest,
            epoch=self._sink.epoch,
            seconds=seconds,
            age=age,
        )

    def _announce(self) -> None:
        """Before the first version only: a publisher that makes old ones once more has nothing to tell."""
        if self._progress != self._announced and self._store.head() is None and not self._there:
            self._sink.announce(self._progress)
            self._announced = self._progress

    def _times(self) -> Mapping[str, str]:
        """What the envelope of the version that goes out next says about when."""
        trained = self._trained.get(self._store.last_published + 1)
        return {"sent": utc(wall_clock())} | ({"trained": trained} if trained else {})

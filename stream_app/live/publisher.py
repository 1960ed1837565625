"""The publishing thread of the trainer: versions go from the outbox to the topic while training goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from stream_app.errors import Unavailable
from stream_app.pipeline import publish
from stream_app.sinks.protocol import VersionSink
from stream_app.store.states import Store
from stream_app.telemetry import event, utc, wall_clock

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class Publisher:
    """Publishes what waits in the outbox, in order, none skipped, and tries for ever while the broker is away.

    It dies with the process: a version is on the topic as a whole or not at all, and waits in the outbox until the
    store knows that it is there.
    """

    def __init__(self, store: Store, sink: VersionSink, model: str, run: str) -> None:
        self._store, self._sink, self._model, self._run = store, sink, model, run
        self._woken = threading.Event()
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

    def _loop(self) -> None:
        pause = FIRST_PAUSE
        step: Callable[[], object] = self._sink.open
        while True:
            try:
                step()
                step, pause = self._send, FIRST_PAUSE
            except Unavailable as error:
                event("publishing-waits", "warning", reason=str(error), seconds=pause)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except Exception as error:
                self._error = error
                return
            self._woken.wait()

    def _send(self) -> None:
        self._woken.clear()
        if self._progress != self._announced and self._store.head() is None:
            self._sink.announce(self._progress)
            self._announced = self._progress
        for number in publish(self._store, self._sink, self._model, self._run, self._times):
            event("version-published", version=number)
            self._trained.pop(number, None)

    def _times(self) -> Mapping[str, str]:
        """What the envelope of the version that goes out next says about when."""
        trained = self._trained.get(self._store.last_published + 1)
        return {"sent": utc(wall_clock())} | ({"trained": trained} if trained else {})

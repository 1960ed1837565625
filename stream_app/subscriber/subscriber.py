"""ModelSubscriber: a thread that follows a place for versions, and the one model that is served now.

A swap is one assignment: a request sees the old version or the new one, never a mix. What is refused, what cannot be
reached and what goes wrong in a callback is reported in `health()`; the version that is served stays.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

from stream_app.errors import AccessDenied, Unavailable, VersionRejected
from stream_app.serving.computing import NumpyServing, Serving
from stream_app.serving.model import ServingModel
from stream_app.subscriber.following import Arrival, Following, News, Stage
from stream_app.subscriber.health import Health
from stream_app.subscriber.messages import FollowMessages
from stream_app.subscriber.settings import SubscriberSettings
from stream_app.versions.messages import Manifest
from stream_app.versions.signing import Keys

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 15.0
_Argument = TypeVar("_Argument")


class ModelSubscriber:
    """See the module. Callbacks run in the subscriber's thread: `on_swap` after the new model is served, `on_refusal`
    when a version or message was refused. An exception in a callback is logged and changes nothing. `serving` says what
    computes: numpy for the built-in base models, unless something else is given."""

    def __init__(
        self,
        settings: SubscriberSettings,
        on_swap: Callable[[ServingModel], None] | None = None,
        on_refusal: Callable[[VersionRejected], None] | None = None,
        serving: Serving | None = None,
    ) -> None:
        self.settings = settings
        self._on_swap, self._on_refusal = on_swap, on_refusal
        self._following: Following = FollowMessages(
            lambda: settings.source().reader(),
            settings.model,
            serving or NumpyServing(),
            settings.max_bytes,
            Keys.of(settings.keys),
        )
        self._serving: ServingModel | None = None
        self._served: Manifest | None = None
        self._swaps, self._refusals, self._swapped_at = 0, 0, 0.0
        self._last_refusal, self._stage, self._trouble = "", "", ""
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-subscriber", daemon=True)

    @property
    def model(self) -> ServingModel | None:
        """What is served now; None before the first version. Read it once a request."""
        return self._serving

    def __enter__(self) -> Self:
        """Starts to follow; an unreachable broker is no error here, see `wait` and `health`."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread, within about `settings.poll` seconds. `model` stays usable."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=self.settings.poll + 30)

    def wait(self, timeout: float | None = None, version: int = 1) -> ServingModel:
        """Blocks until a version of at least this number is served.

        Raises Unavailable after `timeout` seconds, saying why.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number() >= version, timeout)
            if self._serving is not None and self._number() >= version:
                return self._serving
        known = [reason for reason in (self._stage, self._trouble, self._last_refusal) if reason]
        raise Unavailable(f"no model version {version} within {timeout} s" + (f": {'; '.join(known)}" if known else ""))

    def health(self) -> Health:
        """For a health page or a metric; cheap, and safe from any thread."""
        with self._changed:
            served = self._served
            return Health(
                state="waiting" if served is None else "serving",
                version=served.content.version if served else 0,
                digest=served.digest if served else "",
                run=served.envelope.run if served else "",
                epoch=served.envelope.epoch if served else 0,
                times=served.envelope.times if served else {},
                swaps=self._swaps,
                refusals=self._refusals,
                last_refusal=self._last_refusal,
                stage=self._stage,
                trouble=self._trouble,
                age=time.monotonic() - self._swapped_at if served else None,
            )

    def _number(self) -> int:
        return 0 if self._serving is None else self._serving.version.number

    def _run(self) -> None:
        """Outlives everything but `close`: a serving process must not lose its updates to one bad moment."""
        pause = self.settings.poll
        while not self._stop.is_set():
            try:
                for news in self._following.poll(self.settings.poll):
                    self._take(news)
                    if self._stop.is_set():
                        break
                self._trouble, pause = "", self.settings.poll
                continue
            except (Unavailable, AccessDenied) as error:
                self._trouble = str(error)
            except Exception as error:
                self._trouble = f"{type(error).__name__}: {error}"
                _log.exception("the model subscriber starts reading again")
            self._following.close()
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._following.close()

    def _take(self, news: News) -> None:
        match news:
            case Arrival():
                self._swap(news)
            case Stage(text):
                self._stage = text
            case VersionRejected():
                self._refusals, self._last_refusal = self._refusals + 1, str(news)
                _guarded(self._on_refusal, news)

    def _swap(self, arrival: Arrival) -> None:
        with self._changed:
            self._serving, self._served = arrival.model, arrival.manifest
            self._swaps, self._swapped_at = self._swaps + 1, time.monotonic()
            self._changed.notify_all()
        _guarded(self._on_swap, arrival.model)


def _guarded(callback: Callable[[_Argument], None] | None, argument: _Argument) -> None:
    if callback is None:
        return
    try:
        callback(argument)
    except Exception:
        _log.exception("a callback of the model subscriber failed")

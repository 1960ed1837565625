"""ModelSubscriber: a thread that follows a place for versions, and the one model that is served now.

A swap is one assignment: a request sees the old version or the new one, never a mix. What is refused, what cannot be
reached and what goes wrong in a callback is reported in `health()`; the version that is served stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Self, TypeVarTuple

from stream_app.errors import AccessDenied, StaleModel, Unavailable, VersionRejected, WarmUpFailed
from stream_app.serving.computing import NumpyServing, Serving
from stream_app.serving.model import ServingModel
from stream_app.subscriber.following import Arrival, Following, News, Stage
from stream_app.subscriber.forked import tell_when_forked
from stream_app.subscriber.health import Health
from stream_app.subscriber.settings import SubscriberSettings
from stream_app.subscriber.staleness import Served
from stream_app.telemetry import wall_clock

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 15.0
_FORKED = (
    "this process was forked from the one that follows the topic, and never serves another version; start a "
    "subscriber after the fork, or have all processes follow one cache (SubscriberSettings.cache)"
)
_Arguments = TypeVarTuple("_Arguments")


class ModelSubscriber:
    """See the module. All that is given here is called in the subscriber's thread:

    warm_up: with each model before it serves, to bring its pages and caches into memory; raises what it likes, then
    the version is refused (WarmUpFailed) and the one before stays. on_swap: after the new model is served. on_refusal:
    when a version or message was refused. on_stale: once each time that what serves becomes older than
    `settings.stale_after`. An exception in one of these three is logged and changes nothing. serving: what computes,
    numpy for the built-in base models. clock: seconds since 1970, for ages. following: what to follow, if not what
    `settings` say.

    In a process that was forked from this one it goes on by itself where it follows a cache; else `health()` says that
    it never swaps again.
    """

    def __init__(
        self,
        settings: SubscriberSettings,
        *,
        on_swap: Callable[[ServingModel], None] | None = None,
        on_refusal: Callable[[VersionRejected], None] | None = None,
        on_stale: Callable[[Health], None] | None = None,
        warm_up: Callable[[ServingModel], object] | None = None,
        serving: Serving | None = None,
        clock: Callable[[], float] = wall_clock,
        following: Following | None = None,
    ) -> None:
        self.settings = settings
        self._on_swap, self._on_refusal, self._on_stale, self._warm_up = on_swap, on_refusal, on_stale, warm_up
        self._clock = clock
        self._following = following or settings.following(serving or NumpyServing())
        self._served: Served | None = None
        self._swaps, self._refusals, self._told_stale = 0, 0, False
        self._last_refusal, self._stage, self._trouble = "", "", ""
        self._make_thread()

    @property
    def model(self) -> ServingModel | None:
        """What is served now; None before the first version. Read it once a request.

        Raises StaleModel when it is stale and `settings.when_stale` is "refuse".
        """
        served = self._served
        if served is None:
            return None
        if self._too_old(served):
            raise StaleModel(served.model.version.number, served.age(self._clock()))
        return served.model

    def __enter__(self) -> Self:
        """Starts to follow; an unreachable broker is no error here, see `wait` and `health`."""
        self._thread.start()
        tell_when_forked(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread, within about `settings.poll` seconds, and every `wait`. `model` stays usable."""
        self._stop.set()
        self._wake()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=self.settings.poll + 30)

    def forked(self) -> None:
        """See `tell_when_forked`: the locks may be held by threads that are not here."""
        ended = self._stop.is_set()
        self._make_thread()
        if ended:
            self._stop.set()
        elif self._following.outlives_fork:
            self._thread.start()
        else:
            self._trouble = _FORKED

    def wait(self, timeout: float | None = None, version: int = 1) -> ServingModel:
        """Blocks until a version of at least this number is served, and may be by `settings.when_stale`.

        Raises Unavailable after `timeout` seconds, or when it is closed, saying why.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._usable(version) or self._stop.is_set(), timeout)
            found = self._usable(version)
        if found is None:
            raise self._unavailable(version, timeout)
        return found

    def health(self) -> Health:
        """For a health page or a metric; cheap, and safe from any thread."""
        with self._changed:
            served, now = self._served, self._clock()
            return Health(
                state="waiting" if served is None else "serving",
                version=served.manifest.content.version if served else 0,
                digest=served.model.version.digest if served else "",
                run=served.manifest.envelope.run if served else "",
                epoch=served.manifest.envelope.epoch if served else 0,
                source_offsets=served.manifest.envelope.source_offsets if served else {},
                times=served.manifest.envelope.times if served else {},
                age=served.age(now) if served else None,
                since_swap=max(0.0, now - served.since) if served else None,
                stale=self._stale(served),
                pinned=self._following.pinned,
                lag=self._following.lag,
                swaps=self._swaps,
                refusals=self._refusals,
                last_refusal=self._last_refusal,
                stage=self._stage,
                trouble=self._trouble,
            )

    def _make_thread(self) -> None:
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-subscriber", daemon=True)

    def _number(self) -> int:
        return 0 if self._served is None else self._served.model.version.number

    def _usable(self, version: int) -> ServingModel | None:
        served = self._served
        if served is None or served.model.version.number < version or self._too_old(served):
            return None
        return served.model

    def _too_old(self, served: Served) -> bool:
        """Whether it must not be served any more."""
        return self.settings.when_stale == "refuse" and self._stale(served)

    def _stale(self, served: Served | None) -> bool:
        return served is not None and served.stale(self.settings, self._following.pinned, self._clock())

    def _unavailable(self, version: int, timeout: float | None) -> Unavailable:
        """With what is known of why it does not serve."""
        stale = f"version {self._number()} is stale" if self._stale(self._served) else ""
        closed = "the subscriber is closed" if self._stop.is_set() else ""
        known = [reason for reason in (closed, self._stage, stale, self._trouble, self._last_refusal) if reason]
        within = "" if timeout is None else f" within {timeout} s"
        return Unavailable(f"no model version {version}{within}" + (f": {'; '.join(known)}" if known else ""))

    def _run(self) -> None:
        """Outlives everything but `close`: a serving process must not lose its updates to one bad moment."""
        pause = self.settings.poll
        while not self._stop.is_set():
            self._trouble = self._read()
            _guarded(self._tell_stale)
            if not self._trouble:
                pause = self.settings.poll
                continue
            _guarded(self._following.close)
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        _guarded(self._following.close)

    def _read(self) -> str:
        """Takes what is new; says why that is not possible now, "" if it is."""
        try:
            for news in self._following.poll(self.settings.poll):
                self._take(news)
                if self._stop.is_set():
                    break
        except (Unavailable, AccessDenied) as error:
            return str(error)
        except Exception as error:
            _log.exception("the model subscriber starts reading again")
            return f"{type(error).__name__}: {error}"
        return ""

    def _take(self, news: News) -> None:
        match news:
            case Arrival():
                self._warm_up_and_swap(news)
            case Stage(text):
                self._stage = text
            case VersionRejected():
                self._refusals, self._last_refusal = self._refusals + 1, str(news)
                _guarded(self._on_refusal, news)

    def _warm_up_and_swap(self, arrival: Arrival) -> None:
        try:
            if self._warm_up is not None:
                self._warm_up(arrival.model)
        except Exception as error:
            refusal = WarmUpFailed(arrival.model.version.number, f"warm-up: {type(error).__name__}: {error}")
            refusal.__cause__ = error
            self._take(refusal)
            return
        with self._changed:
            self._served, self._swaps = Served.of(arrival, self._clock()), self._swaps + 1
            self._wake()
        _guarded(self._on_swap, arrival.model)
        self._tell_stale()

    def _tell_stale(self) -> None:
        """Once each time that what serves becomes stale; that it is no more may be what somebody waits for."""
        before, self._told_stale = self._told_stale, self._stale(self._served)
        if self._told_stale and not before:
            _guarded(self._on_stale, self.health())
        elif before and not self._told_stale:
            self._wake()

    def _wake(self) -> None:
        """Whoever waits looks again at what may be used."""
        with self._changed:
            self._changed.notify_all()


def _guarded(call: Callable[[*_Arguments], None] | None, *arguments: *_Arguments) -> None:
    if call is None:
        return
    try:
        call(*arguments)
    except Exception:
        _log.exception("what the model subscriber called has failed")

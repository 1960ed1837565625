"""HistoryFollower: a thread that reads the segments topic from where the served version's histories end."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Self

from stream_app.errors import AccessDenied, IncompatibleState, StaleModel, Unavailable
from stream_app.serving.model import ServingModel
from stream_app.subscriber.aio import AsyncModelSubscriber
from stream_app.subscriber.forked import tell_when_forked
from stream_app.subscriber.histories.health import HistoryHealth
from stream_app.subscriber.histories.live import continued
from stream_app.subscriber.histories.reading import Reading
from stream_app.subscriber.histories.settings import HistorySettings
from stream_app.subscriber.subscriber import ModelSubscriber

if TYPE_CHECKING:  # the client takes half of the time that an import may take
    from stream_app.subscriber.histories.topic import SegmentsTopic

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 15.0
_FORKED = "this process was forked from the one that follows histories; start a follower after the fork"


class HistoryFollower:
    """See the package. In a process that was forked from this one `health()` says that nobody follows there."""

    def __init__(self, settings: HistorySettings, subscriber: ModelSubscriber | AsyncModelSubscriber) -> None:
        """subscriber: whose served version is continued; it may follow a topic, a directory or a cache."""
        self.settings, self._subscriber = settings, subscriber
        self._reading: Reading | None = None
        self._topic: SegmentsTopic | None = None
        self._topic_id: object = None
        self._lag: int | None = None
        self._trouble, self._lost = "", ""
        self._make_thread()

    def __enter__(self) -> Self:
        """Begins to follow; an unreachable broker is no error here, see `health`."""
        self._thread.start()
        tell_when_forked(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread, within about `settings.poll` seconds."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=self.settings.poll + 30)

    def forked(self) -> None:
        """See `tell_when_forked`: locks may be held by a thread that is not here, the connection is not ours."""
        ended = self._stop.is_set()
        self._make_thread()
        if not ended:
            self._lag, self._trouble = None, _FORKED

    def history(self, user: Any, model: ServingModel | None = None, before: int | None = None) -> list[Any]:
        """Ids of the user's most recent positive items, most recent first, at most 30; to be given to `model.score`.

        model: what the request scores with, None for what is served now; without one, and where its version carries no
        histories, there is nothing. before: only what is strictly earlier than this event time (microseconds), as the
        learner has it for an interaction at that time; earlier than the end of the version's period cannot be told.
        Raises ValueError for a user of another type than the version's.
        """
        model = model or self._subscriber.model
        if model is None or model.histories is None:
            return []
        reading = self._reading
        live = () if reading is None else reading.live.of(user)
        return continued(model.own_history(user), model.histories.until, live, before)

    def wait(self, timeout: float | None = None) -> None:
        """Blocks until all is taken that was on the topic when the last poll ended.

        Raises Unavailable after `timeout` seconds, saying why.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._lag == 0, timeout):
                why = self.health().trouble
                raise Unavailable(f"histories are not live within {timeout} s" + (f": {why}" if why else ""))

    def health(self) -> HistoryHealth:
        """For a health page or a metric; cheap, and safe from any thread."""
        reading = self._reading
        return HistoryHealth(
            state="waiting" if self._topic is None else "following",
            version=reading.version if reading else 0,
            until=reading.until if reading else None,
            users=len(reading.live) if reading else 0,
            rows=reading.live.rows if reading else 0,
            forgotten=reading.live.forgotten if reading else 0,
            lag=self._lag,
            missing=reading.missing if reading else "",
            trouble=self._trouble,
        )

    def _make_thread(self) -> None:
        self._changed, self._stop = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="history-follower", daemon=True)

    def _run(self) -> None:
        """Outlives everything but `close`: histories must not stay behind because of one bad moment."""
        pause = self.settings.poll
        while not self._stop.is_set():
            self._trouble = self._read()
            if not self._trouble:
                pause = self.settings.poll
                continue
            self._leave()
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._leave()

    def _read(self) -> str:
        """Takes what is new; says why that is not possible now, "" if it is."""
        from stream_app.subscriber.histories.topic import PositionLost

        try:
            return self._follow()
        except PositionLost as error:
            self._reading, self._lost = None, str(error)
            return str(error)
        except (Unavailable, AccessDenied, IncompatibleState) as error:
            return str(error)
        except Exception as error:
            _log.exception("the follower of histories starts reading again")
            return f"{type(error).__name__}: {error}"

    def _follow(self) -> str:
        try:
            model = self._subscriber.model
        except StaleModel:
            model = None  # nobody scores with it, and the next one will say where to go on
        if model is None:
            self._stop.wait(self.settings.poll)
            return ""
        if model.histories is None:
            return f"version {model.version.number} carries no histories; set learning.histories where it is trained"
        reading = self._reading
        if reading is None or not reading.turned_to(model, model.histories):
            self._leave()
            reading = self._reading = Reading(model, model.histories, self.settings.max_rows, self._lost)
            self._lost = ""
        topic = self._topic or self._opened(reading)
        for offset, message in topic.poll(self.settings.poll):
            reading.take(offset, message)
        self._note(topic.lag())
        return ""

    def _opened(self, reading: Reading) -> SegmentsTopic:
        """Where it was read up to; at first where rows of the version's time may be: none was written before it."""
        from stream_app.subscriber.histories.topic import SegmentsTopic

        since_ms = reading.live.since // 1000 - round(self.settings.clock_skew * 1000)
        kafka, topic = self.settings.kafka, self.settings.topic
        self._topic = SegmentsTopic(kafka, topic, since_ms, reading.position, self._topic_id)
        self._topic_id = self._topic.topic_id
        if (first := self._topic.begins_late) is not None:
            reading.lack(f"{self.settings.topic} begins with offset {first}: rows since then may have stood before it")
        return self._topic

    def _leave(self) -> None:
        topic, self._topic = self._topic, None
        self._note(None)
        if topic is None:
            return
        try:
            topic.close()
        except Exception:
            _log.exception("the follower of histories lets go of the topic")

    def _note(self, lag: int | None) -> None:
        with self._changed:
            self._lag = lag
            self._changed.notify_all()

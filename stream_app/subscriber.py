"""The library of the serving process: always one complete, verified model version, swapped when a newer one is there.

    with ModelSubscriber(SubscriberSettings(KafkaSettings("localhost:9092"), topic="asmg-models")) as subscriber:
        subscriber.wait(timeout=60)
        ...
        model = subscriber.model                      # once a request: everything in it is of one version
        probabilities = model.score(user, items, history)

A thread follows the topic (or a directory of versions), feeds the `Assembler` and swaps with one assignment: a
request sees the old version or the new one, never a mix. What is refused, what cannot be reached and what goes wrong
in a callback is reported in `health()`; the version that is served stays. Needs numpy, msgpack, pydantic and
kafka-python, nothing else, unless it is given something else to compute with (`serving`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, TypeVar

from stream_app.broker import KafkaSettings
from stream_app.errors import AccessDenied, Unavailable, VersionRejected
from stream_app.sinks import AnySink, DirectorySink, KafkaSink
from stream_app.sinks.protocol import VersionReader
from stream_app.versions.assembler import MAX_BYTES, Assembler
from stream_app.versions.messages import PROGRESS_KEY, Manifest, Message, unpack_progress
from stream_app.versions.scoring import ServingModel
from stream_app.versions.serving import NumpyServing, Serving

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 15.0
_Argument = TypeVar("_Argument")


@dataclass(frozen=True)
class SubscriberSettings:
    """Where versions come from: `topic` of `kafka`, or `directory` if given. `model`: the name that they must carry.

    max_bytes: largest version that is accepted. poll: seconds to wait for messages at a time, also how long a stop
    may take.
    """

    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    topic: str = "asmg-models"
    model: str = "default"
    directory: Path | None = None
    max_bytes: int = MAX_BYTES
    poll: float = 0.5

    def source(self) -> AnySink:
        """The place to read from."""
        if self.directory is not None:
            return DirectorySink(self.directory, self.model)
        return KafkaSink(self.kafka, self.topic, self.model)


@dataclass(frozen=True)
class Health:
    """One consistent look at a subscriber.

    state: "waiting" until the first version is served. version, digest, run, epoch: of what is served (0 and ""
    before). times: what its envelope says of when it was closed, trained and sent. swaps: versions served so far.
    refusals, last_refusal: versions or messages refused. stage: what the trainer says it does before the first
    version. trouble: why nothing can be read at the moment, "" if all is well. age: seconds since the last swap,
    None before the first.
    """

    state: Literal["waiting", "serving"]
    version: int
    digest: str
    run: str
    epoch: int
    times: Mapping[str, str | float | None]
    swaps: int
    refusals: int
    last_refusal: str
    stage: str
    trouble: str
    age: float | None


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
        self._computing: Serving = serving or NumpyServing()
        self._on_swap, self._on_refusal = on_swap, on_refusal
        self._assembler = Assembler(settings.model, settings.max_bytes, self._computing)
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
                with self.settings.source().reader() as reader:
                    pause = self.settings.poll
                    self._follow(reader)
            except (Unavailable, AccessDenied) as error:
                self._trouble = str(error)
            except Exception as error:
                self._trouble = f"{type(error).__name__}: {error}"
                _log.exception("the model subscriber starts reading again")
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _follow(self, reader: VersionReader) -> None:
        while not self._stop.is_set():
            for message in reader.poll(self.settings.poll):
                self._take(message)
                if self._stop.is_set():
                    return
            self._trouble = ""

    def _take(self, message: Message) -> None:
        key, value = message
        try:
            if key == PROGRESS_KEY and value is not None:
                self._stage = unpack_progress(value, self.settings.model)
                return
            version = self._assembler.feed(key, value)
            model = None if version is None else ServingModel(version, self._computing.network(version))
        except VersionRejected as refusal:
            self._refusals, self._last_refusal = self._refusals + 1, str(refusal)
            _guarded(self._on_refusal, refusal)
            return
        if model is not None:
            self._swap(model)

    def _swap(self, model: ServingModel) -> None:
        with self._changed:
            self._serving, self._served = model, self._assembler.served
            self._swaps, self._swapped_at = self._swaps + 1, time.monotonic()
            self._changed.notify_all()
        _guarded(self._on_swap, model)


def _guarded(callback: Callable[[_Argument], None] | None, argument: _Argument) -> None:
    if callback is None:
        return
    try:
        callback(argument)
    except Exception:
        _log.exception("a callback of the model subscriber failed")

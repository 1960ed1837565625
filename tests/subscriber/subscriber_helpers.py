"""What the tests of subscribers share: a place in memory, its versions and what these must answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from simulators import MemorySink, chain, envelope

from stream_app.errors import VersionRejected
from stream_app.serving.model import ServingModel
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

CHAIN = chain(5)
LONG = 30.0  # only a failing test waits so long


@dataclass(frozen=True)
class MemorySettings(SubscriberSettings):
    """Settings whose place is in memory."""

    sink: MemorySink = field(default_factory=MemorySink)
    poll: float = 0.005

    def source(self) -> MemorySink:  # type: ignore[override]
        return self.sink


def publish(settings: MemorySettings, *numbers: int, **times: str | float | None) -> None:
    """Versions of the chain, sent as `times` say."""
    sent = envelope().model_copy(update={"times": times})
    settings.sink.log += [message for number in numbers for message in CHAIN[number - 1].messages(sent)]


def probabilities(model: ServingModel | None) -> list[float]:
    assert model is not None
    return model.score(11, [3, 2, 9], [4]).tolist()


def expected(number: int) -> list[float]:
    return probabilities(ServingModel(CHAIN[number - 1]))


class Told:
    """A callback that collects what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self._arrived = threading.Condition()

    def __call__(self, what: object) -> None:
        with self._arrived:
            self.seen.append(what)
            self._arrived.notify_all()

    def wait(self, count: int = 1) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.seen) >= count, LONG)


def reason(refusal: object) -> str:
    assert isinstance(refusal, VersionRejected)
    return str(refusal)


def answer_of(subscriber: ModelSubscriber) -> list[float]:
    return probabilities(subscriber.model)

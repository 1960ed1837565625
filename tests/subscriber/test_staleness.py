"""How old what serves may be: what counts, who is told, and when it is refused."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from simulators import MemoryReader, MemorySink, envelope, pinned, unpinned
from subscriber_helpers import CHAIN, LONG, MemorySettings, Told, answer_of, expected, publish

from stream_app.errors import StaleModel, Unavailable
from stream_app.serving.model import ServingModel
from stream_app.subscriber import Health, ModelSubscriber, SubscriberSettings
from stream_app.subscriber.following import Arrival
from stream_app.subscriber.staleness import Served
from stream_app.telemetry import utc
from stream_app.versions.messages import Manifest

START = 1_700_000_000.0
SENT = {"sent": utc(START - 61)}


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("sent", "age"),
    [
        (utc(START - 40), 40.0),
        (START - 40, 40.0),
        ("2023-11-15T00:12:40+02:00", 40.0),
        (utc(START + 1e6), 0.0),
        (START + 1e6, 0.0),
        *((nothing, 0.0) for nothing in ("yesterday", "", "2023-11-14T22:12:40", None, 1e300)),
    ],
)
def test_age_counts_from_when_it_was_sent_or_since_the_swap_where_that_is_no_time_before(
    sent: str | float | None, age: float
) -> None:
    settings, clock = MemorySettings(), Clock()
    publish(settings, 1, sent=sent)
    with ModelSubscriber(settings, clock=clock) as subscriber:
        subscriber.wait(LONG)
        assert (subscriber.health().age, subscriber.health().since_swap) == (age, 0.0)
        clock.now += 7
        assert (subscriber.health().age, subscriber.health().since_swap) == (age + 7, 7.0)
        clock.now = START - 1e6
        assert subscriber.health().since_swap == 0.0


def test_becoming_stale_is_told_once_each_time() -> None:
    settings, clock, told = MemorySettings(stale_after=60.0), Clock(), Told()
    publish(settings, 1, sent=utc(START))
    with ModelSubscriber(settings, on_stale=told, clock=clock) as subscriber:
        subscriber.wait(LONG)
        clock.now = START + 60
        assert not subscriber.health().stale
        clock.now = START + 61
        told.wait(1)
        assert subscriber.health().stale
        assert answer_of(subscriber) == expected(1)
        publish(settings, 2, sent=utc(START + 61))
        subscriber.wait(LONG, version=2)
        assert not subscriber.health().stale
        clock.now = START + 122
        told.wait(2)
    assert [(health.version, health.stale) for health in told.seen if isinstance(health, Health)] == [
        (1, True),
        (2, True),
    ]


class Away(MemorySink):
    """A place that cannot be reached after the first look."""

    def reader(self) -> MemoryReader:
        if self.epoch:
            raise Unavailable("no broker")
        self.epoch = 1

        class Reader(MemoryReader):
            def behind(self) -> int:
                raise Unavailable("no broker")

        return Reader(self)


def test_becoming_stale_is_told_while_nothing_can_be_reached() -> None:
    settings, clock, told = MemorySettings(sink=Away(), stale_after=60.0), Clock(), Told()
    publish(settings, 1, sent=utc(START))
    with ModelSubscriber(settings, on_stale=told, clock=clock) as subscriber:
        subscriber.wait(LONG)
        clock.now += 61
        told.wait()
        assert subscriber.health().trouble == "no broker"


def test_what_is_stale_is_refused_where_settings_say_so_until_a_newer_one_serves() -> None:
    settings, clock = MemorySettings(stale_after=60.0, when_stale="refuse"), Clock()
    publish(settings, 1, sent=utc(START - 61))
    with ModelSubscriber(settings, clock=clock) as subscriber:
        with pytest.raises(Unavailable, match="version 1 is stale"):
            waited_for(subscriber)
        with pytest.raises(StaleModel, match="version 1 was sent 61 s ago") as refusal:
            _ = subscriber.model
        assert (refusal.value.version, refusal.value.age, refusal.value.exit_code) == (1, 61.0, 4)
        assert (subscriber.health().state, subscriber.health().stale) == ("serving", True)
        publish(settings, 2, sent=utc(START))
        assert subscriber.wait(LONG).version.number == 2
        assert answer_of(subscriber) == expected(2)
        clock.now += 61
        with pytest.raises(StaleModel, match="version 2"):
            _ = subscriber.model


def waited_for(subscriber: ModelSubscriber) -> None:
    """Waits until the version has come, then for one that may be served."""
    while not subscriber.health().swaps:
        pass
    subscriber.wait(0.01)


def test_who_waits_for_what_is_refused_gets_it_once_it_is_pinned() -> None:
    settings, clock = MemorySettings(stale_after=60.0, when_stale="refuse"), Clock()
    publish(settings, 1, sent=utc(START - 61))
    with ModelSubscriber(settings, clock=clock) as subscriber:
        while not subscriber.health().stale:
            pass
        served = Told()
        threading.Thread(target=lambda: served(subscriber.wait().version.number), daemon=True).start()
        settings.sink.log.append(pinned(CHAIN[0], serial=1, sent=envelope().model_copy(update={"times": SENT})))
        served.wait()
        assert served.seen == [1]
        assert (subscriber.health().stale, subscriber.health().pinned) == (False, 1)
        settings.sink.log.append(unpinned(serial=2))
        while subscriber.health().pinned:
            pass
        with pytest.raises(StaleModel):
            _ = subscriber.model


def test_what_is_pinned_is_never_stale() -> None:
    policy = SubscriberSettings(stale_after=60.0)
    manifest = Manifest(CHAIN[1].content, CHAIN[1].content_bytes, envelope())
    served = Served.of(Arrival(ServingModel(CHAIN[1]), manifest), START)
    assert [served.stale(policy, pinned, START + 61) for pinned in (None, 1, 2)] == [True, True, False]


def test_without_a_limit_nothing_is_stale() -> None:
    manifest = Manifest(CHAIN[1].content, CHAIN[1].content_bytes, envelope())
    served = Served.of(Arrival(ServingModel(CHAIN[1]), manifest), START)
    assert not served.stale(SubscriberSettings(), None, START + 1e12)


def test_health_is_plain_values() -> None:
    settings = MemorySettings()
    publish(settings, 1, sent=utc(START), closed=12.5)
    with ModelSubscriber(settings, clock=Clock()) as subscriber:
        subscriber.wait(LONG)
        health = subscriber.health()
    plain = asdict(replace(health, lag=0))
    told = {
        **{"state": "serving", "version": 1, "digest": CHAIN[0].digest, "run": "first", "epoch": 1},
        **{"times": {"sent": utc(START), "closed": 12.5}, "age": 0.0, "since_swap": 0.0, "stale": False},
        **{"pinned": None, "lag": 0, "swaps": 1, "refusals": 0, "last_refusal": "", "stage": "", "trouble": ""},
    }
    assert json.dumps(plain)
    assert {name: plain[name] for name in told} == told


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stale_after": 0.0}, "stale_after is 0"),
        ({"stale_after": float("nan")}, "stale_after is nan"),
        ({"stale_after": 60.0, "when_stale": "panic"}, "when_stale is 'panic', expected serve or refuse"),
        ({"when_stale": "refuse"}, "stale_after does not say"),
        ({"keys": "public.pem"}, "keys is 'public.pem', expected several"),
        ({"directory": Path("a"), "cache": Path("b")}, "directory is a and cache is b"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SubscriberSettings(**wrong)  # type: ignore[arg-type]

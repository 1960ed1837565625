"""A new subscriber: of what is there when it begins it serves the newest that holds, and nothing older before that."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from simulators import MODEL, MemoryReader, MemorySink, envelope, truncated
from subscriber_helpers import CHAIN, LONG, MemorySettings, Told, answer_of, expected, publish

from stream_app.broker import KafkaSettings
from stream_app.errors import Unavailable
from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.following import Arrival
from stream_app.subscriber.messages import FollowMessages
from stream_app.versions.assembler import MAX_BYTES
from stream_app.versions.messages import Message
from stream_app.versions.model_version import ModelVersion


@pytest.fixture(params=["memory", "directory", pytest.param("kafka", marks=pytest.mark.broker)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> SubscriberSettings:
    """Of a place that is empty."""
    if request.param == "memory":
        return MemorySettings()
    if request.param == "directory":
        return SubscriberSettings(directory=tmp_path / "versions", poll=0.01)
    name = f"newest-{uuid.uuid4().hex}"
    kafka = KafkaSettings(request.getfixturevalue("broker"), transactional_id=name)
    admin = KafkaAdminClient(bootstrap_servers=kafka.servers)
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    return SubscriberSettings(kafka, name, MODEL, poll=0.05)


def test_a_new_subscriber_serves_the_newest_first_and_then_each_as_it_comes(settings: SubscriberSettings) -> None:
    sink, swaps = settings.source(), list[int]()
    sink.open()
    for version in CHAIN[:3]:
        sink.write(version, envelope())
    with ModelSubscriber(settings, on_swap=lambda model: swaps.append(model.version.number)) as subscriber:
        assert subscriber.wait(LONG).version.digest == CHAIN[2].digest
        assert answer_of(subscriber) == expected(3)
        for version in CHAIN[3:]:
            sink.write(version, envelope())
            subscriber.wait(LONG, version.number)
        while subscriber.health().lag != 0:
            assert subscriber.model is not None
    sink.close()
    assert swaps == [3, 4, 5]


def test_when_the_newest_is_damaged_the_newest_whole_one_serves() -> None:
    settings, refusals = MemorySettings(), Told()
    publish(settings, 1, 2)
    damaged: list[Message] = list(CHAIN[2].messages(envelope()))
    settings.sink.log += [*damaged[:3], truncated(damaged[3], 2), *damaged[4:]]
    with ModelSubscriber(settings, on_refusal=refusals) as subscriber:
        assert subscriber.wait(LONG).version.number == 2
        assert answer_of(subscriber) == expected(2)
        assert refusals.seen


class Interrupted(MemorySink):
    """A place whose connection is lost once a reader has had the first version, and which is not reached again."""

    def reader(self) -> MemoryReader:
        outer, first = self, len(list(CHAIN[0].messages(envelope())))

        class Reader(MemoryReader):
            def poll(self, timeout: float) -> Iterator[Message]:
                yield from outer.log[: first * (self._position == 0)]
                self._position = first
                raise Unavailable("torn away")

        return Reader(self)


def test_when_the_connection_is_lost_meanwhile_what_was_found_serves() -> None:
    settings = MemorySettings(sink=Interrupted())
    publish(settings, 1, 2)
    with ModelSubscriber(settings) as subscriber:
        assert subscriber.wait(LONG).version.number == 1
        assert answer_of(subscriber) == expected(1)
        assert "torn away" in subscriber.health().trouble


def test_while_it_catches_up_one_version_is_in_memory_beside_the_one_that_comes() -> None:
    sink, most = MemorySink(), list[int]()
    sink.log += [message for version in CHAIN for message in version.messages(envelope())]
    before = versions_in_memory()  # held here, so that none of them goes meanwhile

    class Reader(MemoryReader):
        def poll(self, timeout: float) -> Iterator[Message]:
            for key, value in super().poll(timeout):
                yield key, value
                if key is not None and key.endswith(b"/manifest"):
                    most.append(len(versions_in_memory()) - len(before))

    follow = FollowMessages(lambda: Reader(sink), MODEL, NumpyServing(), MAX_BYTES)
    (arrival,) = follow.poll(0)
    assert isinstance(arrival, Arrival)
    assert arrival.model.version.number == 5
    assert most == [1] * 5


def versions_in_memory() -> list[object]:
    return [one for one in gc.get_objects() if type(one) in (ModelVersion, ServingModel)]

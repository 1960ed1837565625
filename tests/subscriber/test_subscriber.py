"""The serving process's library: what is served while versions come, are refused, or cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient
from simulators import MODEL, MemoryReader, MemorySink, envelope, flipped, tiny_version, truncated
from subscriber_helpers import CHAIN, LONG, MemorySettings, Told, answer_of, expected, publish, reason

from stream_app.broker import KafkaSettings
from stream_app.errors import DigestMismatch, Unavailable, WarmUpFailed
from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.serving.networks.network import Network
from stream_app.sinks.directory import DirectorySink
from stream_app.sinks.kafka import KafkaSink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.messages import PROGRESS_KEY, Message
from stream_app.versions.model_version import ModelVersion


def test_versions_are_swapped_as_they_come() -> None:
    settings, swaps = MemorySettings(), list[int]()
    with ModelSubscriber(settings, on_swap=lambda model: swaps.append(model.version.number)) as subscriber:
        assert subscriber.model is None
        assert subscriber.health().state == "waiting"
        for version in CHAIN[:3]:
            settings.sink.log += version.messages(envelope(epoch=4))
            assert subscriber.wait(LONG, version.number).version.digest == version.digest
            assert answer_of(subscriber) == expected(version.number)
        health = subscriber.health()
    assert (health.state, health.version, health.digest) == ("serving", 3, CHAIN[2].digest)
    assert (health.run, health.epoch, health.swaps, health.refusals, health.trouble) == ("first", 4, 3, 0, "")
    assert health.age is not None
    assert swaps == [1, 2, 3]


def damaged(attack: str) -> list[Message]:
    log: list[Message] = list(CHAIN[1].messages(envelope()))
    if attack == "truncated chunk":
        log[2] = truncated(log[2], 3)
    elif attack == "flipped chunk":
        log[2] = flipped(log[2], 12)
    elif attack == "flipped manifest":
        log[-1] = flipped(log[-1], 4000)
    elif attack == "stale epoch":
        log = list(CHAIN[1].messages(envelope(epoch=0)))
    elif attack == "not finite":
        nan = {"parameters.b1": np.full(12, np.nan, np.float32)}
        log = list(tiny_version(2, CHAIN[0].digest, replaced=nan).messages(envelope()))
    elif attack == "foreign base model":
        foreign = {"settings_digest": "0" * 64, "method": "iu", "base_model": "mypackage.net:Net"}
        log = list(tiny_version(2, CHAIN[0].digest, learning=foreign).messages(envelope()))
    elif attack == "noise":
        log = [(b"noise", b"noise")]
    elif attack == "damaged progress":
        log = [(PROGRESS_KEY, b"\xff")]
    return log


@pytest.mark.parametrize(
    "attack",
    [
        *("truncated chunk", "flipped chunk", "flipped manifest", "stale epoch", "not finite", "noise"),
        *("damaged progress", "foreign base model"),
    ],
)
def test_after_a_refusal_the_old_version_still_answers(attack: str) -> None:
    settings, refusals = MemorySettings(), Told()
    settings.sink.log += CHAIN[0].messages(envelope())
    with ModelSubscriber(settings, on_refusal=refusals) as subscriber:
        subscriber.wait(LONG)
        settings.sink.log += damaged(attack)
        refusals.wait()
        assert answer_of(subscriber) == expected(1)
        health = subscriber.health()
        assert (health.version, health.refusals, health.last_refusal) == (1, 1, reason(refusals.seen[0]))
        settings.sink.log += CHAIN[2].messages(envelope())
        subscriber.wait(LONG, version=3)
        assert answer_of(subscriber) == expected(3)


def test_waiting_without_a_version_says_what_the_trainer_does() -> None:
    settings, refusals = MemorySettings(), Told()
    settings.sink.announce("pretraining 4/10")
    settings.sink.log.append((b"noise", b""))
    with ModelSubscriber(settings, on_refusal=refusals) as subscriber:
        refusals.wait()
        with pytest.raises(Unavailable, match="pretraining 4/10"):
            subscriber.wait(0.01)
        assert subscriber.health().stage == "pretraining 4/10"


def test_waiting_without_a_broker_says_so() -> None:
    settings = SubscriberSettings(KafkaSettings("127.0.0.1:1"), poll=0.01)
    with ModelSubscriber(settings) as subscriber:
        while not subscriber.health().trouble:
            pass
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            subscriber.wait(0.01)


class Cramped(NumpyServing):
    """Has no memory at first."""

    tried = 0

    def network(self, version: ModelVersion) -> Network:
        self.tried += 1
        if self.tried == 1:
            raise MemoryError
        return super().network(version)


@pytest.mark.parametrize("sent_before", [True, False])
def test_a_version_for_which_there_was_no_memory_is_served_once_there_is(sent_before: bool) -> None:
    settings = MemorySettings()
    publish(settings, *([1] if sent_before else []))
    with ModelSubscriber(settings, serving=Cramped()) as subscriber:
        if not sent_before:
            while subscriber.health().lag is None:
                pass
            publish(settings, 1)
        assert subscriber.wait(LONG).version.number == 1
        assert answer_of(subscriber) == expected(1)
        assert subscriber.health().swaps == 1


class BrittleReader(MemoryReader):
    """Fails once, and then also when it is let go."""

    def poll(self, timeout: float) -> Iterator[Message]:
        raise RuntimeError("the connection is broken")

    def close(self) -> None:
        raise RuntimeError("it cannot even be closed")


class BrittleSink(MemorySink):
    """Its first reader is brittle."""

    broken = False

    def reader(self) -> MemoryReader:
        first, self.broken = not self.broken, True
        return BrittleReader(self) if first else MemoryReader(self)


def test_a_connection_that_cannot_be_closed_ends_nothing() -> None:
    settings = MemorySettings(sink=BrittleSink())
    publish(settings, 1)
    with ModelSubscriber(settings) as subscriber:
        assert subscriber.wait(LONG).version.number == 1


def test_a_clock_that_fails_ends_nothing() -> None:
    def clock() -> float:
        if failing.is_set():
            failed.set()
            raise OSError("no clock")
        return 1_700_000_000.0

    settings, failing, failed = MemorySettings(stale_after=60.0), threading.Event(), threading.Event()
    publish(settings, 1)
    with ModelSubscriber(settings, clock=clock) as subscriber:
        subscriber.wait(LONG)
        failing.set()
        assert failed.wait(LONG)
        failing.clear()
        publish(settings, 2)
        assert subscriber.wait(LONG, version=2).version.number == 2


def test_closing_ends_waiting_and_what_is_served_stays() -> None:
    settings, told = MemorySettings(), Told()

    def wait() -> None:
        try:
            subscriber.wait(version=2)
        except Unavailable as error:
            told(str(error))

    publish(settings, 1)
    with ModelSubscriber(settings) as subscriber:
        subscriber.wait(LONG)
        threading.Thread(target=wait, daemon=True).start()
    told.wait()
    assert told.seen == ["no model version 2: the subscriber is closed"]
    assert answer_of(subscriber) == expected(1)


def test_callbacks_that_fail_change_nothing() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the callback's own trouble")

    settings = MemorySettings()
    settings.sink.log += [(b"noise", b""), *CHAIN[0].messages(envelope()), *CHAIN[1].messages(envelope())]
    with ModelSubscriber(settings, on_swap=fail, on_refusal=fail) as subscriber:
        assert subscriber.wait(LONG, version=2).version.number == 2
        assert subscriber.health().refusals == 1


class Faltering(MemorySink):
    """A place that cannot be read at first, then breaks down half-way."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0

    def reader(self) -> MemoryReader:
        self.attempts += 1
        if self.attempts == 1:
            raise Unavailable("not yet")
        outer = self

        class Reader(MemoryReader):
            def poll(self, timeout: float) -> Iterator[Message]:
                for place, message in enumerate(super().poll(timeout)):
                    if outer.attempts == 2 and place == 5:
                        raise RuntimeError("torn away")
                    yield message

        return Reader(self)


def test_a_version_is_warmed_up_before_it_serves() -> None:
    settings, seen = MemorySettings(), list[tuple[int, int, str]]()

    def warm_up(model: ServingModel) -> None:
        before = subscriber.model
        seen.append((model.version.number, before.version.number if before else 0, threading.current_thread().name))

    with ModelSubscriber(settings, warm_up=warm_up) as subscriber:
        for number in (1, 2):
            publish(settings, number)
            subscriber.wait(LONG, number)
    assert seen == [(1, 0, "model-subscriber"), (2, 1, "model-subscriber")]


def test_a_version_whose_warm_up_fails_is_refused_and_the_old_one_answers() -> None:
    def warm_up(model: ServingModel) -> None:
        if model.version.number == 2:
            raise OSError("no memory to lock")

    settings, refusals = MemorySettings(), Told()
    publish(settings, 1)
    with ModelSubscriber(settings, warm_up=warm_up, on_refusal=refusals) as subscriber:
        subscriber.wait(LONG)
        publish(settings, 2)
        refusals.wait()
        (refusal,) = refusals.seen
        assert isinstance(refusal, WarmUpFailed)
        assert (refusal.version, type(refusal.__cause__)) == (2, OSError)
        assert "no memory to lock" in subscriber.health().last_refusal
        assert answer_of(subscriber) == expected(1)
        publish(settings, 3)
        subscriber.wait(LONG, version=3)
        assert answer_of(subscriber) == expected(3)


def test_a_source_that_falters_is_read_again_from_the_beginning() -> None:
    settings = MemorySettings(sink=Faltering())
    settings.sink.log += [message for version in CHAIN[:2] for message in version.messages(envelope())]
    with ModelSubscriber(settings) as subscriber:
        assert subscriber.wait(LONG, version=2).version.digest == CHAIN[1].digest
        assert subscriber.health().refusals == 0


def test_a_request_sees_one_version_whatever_is_swapped_meanwhile() -> None:
    settings, stop, answers = MemorySettings(), threading.Event(), set[tuple[float, ...]]()

    def serve() -> None:
        while not stop.is_set():
            if subscriber.model is not None:
                answers.add(tuple(answer_of(subscriber)))

    with ModelSubscriber(settings) as subscriber:
        server = threading.Thread(target=serve)
        server.start()
        for version in CHAIN:
            settings.sink.log += version.messages(envelope())
            subscriber.wait(LONG, version.number)
        stop.set()
        server.join()
    assert answers <= {tuple(expected(number)) for number in range(1, 6)}


def test_it_ends_with_the_block_and_the_model_stays_usable() -> None:
    settings = MemorySettings()
    settings.sink.log += CHAIN[0].messages(envelope())
    with ModelSubscriber(settings) as subscriber:
        subscriber.wait(LONG)
    assert not [thread for thread in threading.enumerate() if thread.name == "model-subscriber"]
    assert answer_of(subscriber) == expected(1)


def test_a_directory_of_versions_is_followed(tmp_path: Path) -> None:
    settings = SubscriberSettings(directory=tmp_path / "versions", poll=0.01)
    with ModelSubscriber(settings) as subscriber:
        sink = DirectorySink(settings.directory or "")
        sink.open()
        for version in CHAIN[:3]:
            sink.write(version, envelope())
            assert subscriber.wait(LONG, version.number).version.digest == version.digest


def test_a_damaged_directory_is_refused_and_the_old_version_answers(tmp_path: Path) -> None:
    sink, refusals = DirectorySink(tmp_path), Told()
    sink.open()
    for version in CHAIN[:2]:
        sink.write(version, envelope())
    file = tmp_path / "000002" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with ModelSubscriber(SubscriberSettings(directory=tmp_path, poll=0.01), on_refusal=refusals) as subscriber:
        refusals.wait()
        assert type(refusals.seen[0]) is DigestMismatch
        subscriber.wait(LONG)
        assert answer_of(subscriber) == expected(1)


@pytest.mark.broker
def test_a_topic_is_followed(broker: str) -> None:
    topic = f"models-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    kafka = KafkaSettings(broker, transactional_id=topic)
    sink = KafkaSink(kafka, topic, MODEL)
    sink.open()
    sink.write(CHAIN[0], envelope())
    with ModelSubscriber(SubscriberSettings(kafka, topic, poll=0.05)) as subscriber:
        for version in CHAIN[:3]:
            sink.write(version, envelope())
            assert subscriber.wait(LONG, version.number).version.digest == version.digest
            assert answer_of(subscriber) == expected(version.number)
    sink.close()


SERVING = """
import sys
for name in ("faust", "rocksdict", "aiokafka", "torch", "pyarrow", "msgspec", "models"):
    sys.modules[name] = None      # importing it fails as if it were not installed
from pathlib import Path
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
assert not {"asyncio", "kafka"} & set(sys.modules)    # what is not used is not waited for
with ModelSubscriber(SubscriberSettings(directory=Path(sys.argv[1]))) as subscriber:
    print(subscriber.wait(30).score(11, [3, 2, 9], [4]).tolist())
"""


def test_a_serving_process_needs_no_worker_package(tmp_path: Path) -> None:
    sink = DirectorySink(tmp_path)
    sink.open()
    sink.write(CHAIN[0], envelope())
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", SERVING, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert answer.stdout.strip() == str(expected(1))

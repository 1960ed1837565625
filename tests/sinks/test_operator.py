"""Pinning on a real topic: what is said, what is refused, two operators at once, beside a publisher and compaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hand import Hand
from kafka import KafkaAdminClient
from key_pairs import Pair
from simulators import chain, envelope, unpinned

from stream_app.broker import KafkaSettings
from stream_app.cli.main import main
from stream_app.errors import BadInput, SettingsError, StopTheLine, VersionsDamaged
from stream_app.sinks.kafka import KafkaSink
from stream_app.sinks.kafka_reader import KafkaReader
from stream_app.sinks.operator import Operator
from stream_app.sinks.standing import standing
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.control import ControlRecord, Pin
from stream_app.versions.messages import CONTROL_KEY
from stream_app.versions.signing import Keys, Signer

CHAIN = chain(6)
LONG = 30.0  # only a failing test waits so long

pytestmark = pytest.mark.broker


@pytest.fixture
def kafka(broker: str, model_topic: str) -> KafkaSettings:
    return KafkaSettings(broker, transactional_id=f"{model_topic}-{{model}}")


@pytest.fixture
def sink(kafka: KafkaSettings, model_topic: str) -> Iterator[KafkaSink]:
    with closing(KafkaSink(kafka, model_topic)) as publisher:
        publisher.open()
        for version in CHAIN[:3]:
            publisher.write(version, envelope())
        yield publisher


def operator(sink: KafkaSink, **arguments: object) -> Operator:
    return Operator(sink.kafka, sink.topic, sink.model, **arguments)  # type: ignore[arg-type]


def records(sink: KafkaSink) -> list[ControlRecord]:
    """The control records on the topic, in order."""
    with closing(sink.reader()) as reader:
        values = [value for key, value in reader.until_end() if key == CONTROL_KEY]
    return [ControlRecord.unpack(value or b"", "default") for value in values]


def test_what_is_pinned_is_the_version_as_it_lies_there_and_unpinning_is_a_record_too(sink: KafkaSink) -> None:
    with operator(sink) as one:
        pinned = one.pin(2)
        unpinned = one.unpin()
    assert records(sink) == [pinned.now, unpinned.now]
    assert pinned.before is None
    assert unpinned.before == pinned.now
    pin = pinned.now.control.pin
    assert pin is not None
    assert pin.announced().content_bytes == CHAIN[1].content_bytes
    with closing(KafkaReader(sink.kafka, sink.topic)) as reader:
        keys = [record.key for record in reader.between(pin.first, pin.last + 1)]
    assert keys == [key for key, _ in CHAIN[1].messages(envelope())], "and it lies where the record says"
    assert unpinned.now.control.pin is None
    assert unpinned.now.control.serial > pinned.now.control.serial


def test_what_holds_is_found_also_behind_tombstones_and_records(sink: KafkaSink, broker: str) -> None:
    with operator(sink) as one:
        said = one.pin(3).now
    with Hand(broker, sink.topic) as hand:
        hand.bury(CHAIN[0])
    newest, control = standing(sink.kafka, sink.topic, "default")
    assert newest is not None
    assert (newest.digest, control) == (CHAIN[2].digest, said)


class Interrupted(Operator):
    """After it has looked and before it speaks, something happens."""

    def __init__(self, sink: KafkaSink, happens: Callable[[], None]) -> None:
        super().__init__(sink.kafka, sink.topic, sink.model)
        self._happens = happens

    def _located(self, number: int) -> Pin:
        pin = super()._located(number)
        self._happens()
        return pin


def test_what_retention_takes_while_it_is_being_pinned_is_not_pinned(sink: KafkaSink) -> None:
    """Its publisher cannot know yet; what held before holds again."""
    with operator(sink) as one:
        before = one.pin(3).now.control.pin
    with closing(KafkaSink(sink.kafka, sink.topic, sink.model, keep=3)) as publisher:
        publisher.open()
        retires = partial(publisher.write, CHAIN[3], envelope())
        with Interrupted(sink, retires) as one, pytest.raises(BadInput, match="no version 1 any more"):
            one.pin(1)
        publisher.write(CHAIN[4], envelope())
    _, control = standing(sink.kafka, sink.topic, "default")
    assert control is not None
    assert control.control.pin == before
    subscriber = ModelSubscriber(SubscriberSettings(sink.kafka, sink.topic, poll=0.05))
    with subscriber:
        assert subscriber.wait(LONG).version.number == 3


def test_serials_rise_also_when_the_clock_goes_back(sink: KafkaSink) -> None:
    readings = iter([100.0, 50.0])
    with operator(sink, clock=lambda: next(readings)) as one:
        assert [one.pin(1).now.control.serial, one.unpin().now.control.serial] == [100_000, 100_001]


def test_a_version_that_is_not_there_is_not_pinned_and_those_that_are_there_are_named(sink: KafkaSink) -> None:
    with operator(sink) as one, pytest.raises(BadInput, match="no version 9; there are: 1, 2, 3"):
        one.pin(9)
    assert records(sink) == []


def test_a_version_whose_transaction_is_open_is_not_pinned(sink: KafkaSink, broker: str) -> None:
    with Hand(broker, sink.topic) as publisher:
        publisher.send(CHAIN[3].messages(envelope()), end="open")
        with operator(sink) as one, pytest.raises(BadInput, match="no version 4"):
            one.pin(4)


@pytest.mark.parametrize("what", ["manifest", "chunks"])
def test_a_version_that_was_buried_is_not_pinned(sink: KafkaSink, broker: str, what: str) -> None:
    with Hand(broker, sink.topic) as publisher:
        publisher.bury(CHAIN[0], what)
    with operator(sink) as one, pytest.raises((BadInput, VersionsDamaged)):
        one.pin(1)
    assert records(sink) == []


def test_of_two_operators_the_one_that_began_last_finishes_and_the_publisher_goes_on(sink: KafkaSink) -> None:
    with operator(sink) as first, operator(sink) as second:
        with pytest.raises(StopTheLine, match="another process"):
            first.pin(1)
        said = second.pin(2)
    assert records(sink) == [said.now]
    sink.write(CHAIN[3], envelope())
    assert sink.head().version == 4


def test_with_keys_only_what_subscribers_would_obey_is_sent(sink: KafkaSink, tmp_path: Path) -> None:
    ours, theirs = Pair(tmp_path, "ours"), Pair(tmp_path, "theirs")
    keys = Keys.of([str(ours.public)])
    for signer in (None, Signer(str(theirs.private))):
        with operator(sink, signer=signer, keys=keys) as one, pytest.raises(SettingsError, match="signing_key"):
            one.unpin()
    with operator(sink, signer=Signer(str(ours.private)), keys=keys) as one:
        with pytest.raises(VersionsDamaged, match="not signed"):
            one.pin(1)
        said = one.unpin()
    assert records(sink) == [said.now]
    assert keys is not None
    assert keys.check_control(said.now)


def test_subscribers_obey_while_versions_are_published(sink: KafkaSink) -> None:
    settings = SubscriberSettings(sink.kafka, sink.topic, poll=0.05)
    with ModelSubscriber(settings) as running, operator(sink) as one:
        running.wait(LONG, version=3)
        one.pin(1)
        until(running, 1)
        sink.write(CHAIN[3], envelope())
        sink.write(CHAIN[4], envelope())
        with ModelSubscriber(settings) as late:
            assert late.wait(LONG).version.number == 1
            assert late.health().pinned == 1
            assert running.health().version == 1
            one.unpin()
            assert running.wait(LONG, version=2).version.number == 5
            assert late.wait(LONG, version=2).version.number == 5
        assert running.health().pinned is None


def until(subscriber: ModelSubscriber, version: int) -> None:
    deadline = time.monotonic() + LONG
    while subscriber.health().version != version:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_pin_survives_compaction(broker: str, kafka: KafkaSettings, model_topic: str) -> None:
    quick = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100",
        "delete.retention.ms": "100",
    }
    admin = KafkaAdminClient(bootstrap_servers=broker)
    topic = f"{model_topic}-quick"
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1, "configs": quick}})
    admin.close()
    with closing(KafkaSink(kafka, topic)) as sink, Hand(broker, topic) as hand:
        sink.open()
        for version in CHAIN[:3]:
            sink.write(version, envelope())
        with operator(sink) as one:
            one.unpin()
            said = one.pin(2)
        hand.bury(CHAIN[0])
        deadline = time.monotonic() + LONG
        while records(sink) != [said.now] or _keys(sink) & {key for key, _ in CHAIN[0].messages(envelope())}:
            assert time.monotonic() < deadline
            hand.send([(b"progress", b"")])  # what rolls a segment, so that those before are cleaned
            time.sleep(0.2)
        with ModelSubscriber(SubscriberSettings(kafka, topic, poll=0.05)) as late:
            assert late.wait(LONG).version.digest == CHAIN[1].digest


def _keys(sink: KafkaSink) -> set[bytes | None]:
    return {key for key, _ in sink.read()}


def test_the_commands_say_what_is_served_now_and_before(sink: KafkaSink, capsys: pytest.CaptureFixture[str]) -> None:
    same = ["--set", f"kafka.bootstrap={sink.kafka.bootstrap}", "--set", f"topics.models={sink.topic}"]
    same += ["--set", f"kafka.transactional_id={sink.kafka.transactional_id}"]
    assert main(["versions", "pin", "2", *same]) == 0
    assert capsys.readouterr().out.startswith(f"version 2 ({CHAIN[1].digest[:12]}) is pinned; before: nothing")
    assert main(["versions", "unpin", "--json", *same]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["now"]["pinned"], said["before"]["pinned"]) == (None, 2)
    assert main(["versions", "pin", "7", *same]) == 2
    assert "no version 7; there are: 1, 2, 3" in capsys.readouterr().err
    assert len(records(sink)) == 2


def test_a_record_of_another_model_is_none_of_ours(sink: KafkaSink, broker: str) -> None:
    key, value = unpinned(10**15)
    assert value is not None
    record = ControlRecord.unpack(value, "default").control.model_copy(update={"model": "other"})
    with Hand(broker, sink.topic) as other:
        other.send([(key, ControlRecord.of(record).pack())])
    with operator(sink) as one:
        assert one.unpin().before is None

"""What only a real broker can show: transactions, fencing, large versions, a broker that goes and comes back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from simulators import chain, envelope, tiny_version

from stream_app.broker import KafkaSettings
from stream_app.errors import Fenced, IncompatibleState, StopTheLine, Unavailable
from stream_app.serving.computing import NumpyServing
from stream_app.sinks import kafka_reader as reader_module
from stream_app.sinks import transaction as transaction_module
from stream_app.sinks.kafka import KafkaSink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.assembler import assembled

CHAIN = chain(4)


def opened(broker: str, topic: str) -> KafkaSink:
    sink = KafkaSink(KafkaSettings(broker, transactional_id=topic), topic)
    sink.open()
    return sink


def numbers(sink: KafkaSink) -> list[int]:
    return [version.number for version in assembled(sink.read(), "default", NumpyServing())]


@pytest.mark.broker
def test_a_plain_client_finds_chunks_first_and_the_manifest_last(broker: str, model_topic: str) -> None:
    sink = opened(broker, model_topic)
    sink.write(CHAIN[0], envelope())
    sink.close()
    plain = KafkaConsumer(
        bootstrap_servers=broker, group_id=None, auto_offset_reset="earliest", consumer_timeout_ms=3000
    )
    plain.assign([TopicPartition(model_topic, 0)])
    records = [(record.key, record.value) for record in plain]
    plain.close()
    assert b"".join(value for _, value in records[:-1]) == b"".join(bytes(c) for _, c, _ in CHAIN[0].chunks())
    key, value = records[-1]
    assert key == b"000000000001/manifest"
    assert msgpack.unpackb(value)["content"] == CHAIN[0].content_bytes


@pytest.mark.broker
def test_a_replaced_publisher_is_fenced_and_what_it_left_is_never_seen(broker: str, model_topic: str) -> None:
    old = opened(broker, model_topic)
    old.write(CHAIN[0], envelope())
    new = opened(broker, model_topic)
    new.announce("is there")
    with pytest.raises(Fenced) as refusal:
        old.write(tiny_version(2, CHAIN[0].digest, seed=5), envelope())
    assert refusal.value.epoch == 1
    with pytest.raises(ValueError, match="open"):
        old.write(CHAIN[1], envelope())
    new.write(CHAIN[1], envelope())
    head = new.head()
    assert (head.version, head.digest, head.epoch) == (2, CHAIN[1].digest, 2)
    new.close()


@pytest.mark.broker
def test_who_looks_or_has_nothing_new_fences_nobody(broker: str, model_topic: str) -> None:
    active = opened(broker, model_topic)
    active.write(CHAIN[0], envelope())
    stand_by = opened(broker, model_topic)
    stand_by.write(CHAIN[0], envelope())
    active.write(CHAIN[1], envelope())
    assert numbers(active) == [1, 2]
    active.close()


@pytest.mark.broker
def test_without_a_permit_nobody_is_fenced_and_with_it_the_write_goes_on(broker: str, model_topic: str) -> None:
    refusals = [Unavailable("not yet")]

    def permit() -> None:
        if refusals:
            raise refusals.pop()

    active = opened(broker, model_topic)
    active.write(CHAIN[0], envelope())
    next_one = KafkaSink(KafkaSettings(broker, transactional_id=model_topic), model_topic, permit=permit)
    next_one.open()
    with pytest.raises(Unavailable, match="not yet"):
        next_one.write(CHAIN[1], envelope())
    active.write(CHAIN[1], envelope())
    next_one.write(CHAIN[2], envelope())
    assert numbers(active) == [1, 2, 3]
    for sink in (active, next_one):
        sink.close()


@pytest.mark.broker
def test_what_another_publisher_sent_meanwhile_is_compared_and_not_sent_again(broker: str, model_topic: str) -> None:
    late, first = opened(broker, model_topic), opened(broker, model_topic)
    for version in CHAIN[:2]:
        first.write(version, envelope())
    before = list(first.read())
    for version in CHAIN[:2]:
        late.write(version, envelope())
    with pytest.raises(IncompatibleState, match="version 3 follows"):
        late.write(tiny_version(3, "0" * 64), envelope())
    assert list(first.read()) == before
    late.write(CHAIN[2], envelope())
    assert late.head().epoch == 2
    late.close()


@pytest.mark.broker
def test_on_a_topic_that_was_made_anew_versions_go_on_and_who_followed_the_old_one_gets_them(
    broker: str, model_topic: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction_module, "_ANSWER_SECONDS", 1.0)
    caplog.set_level("INFO")
    sink = opened(broker, model_topic)
    for version in CHAIN[:2]:
        sink.write(version, envelope())
    settings = SubscriberSettings(KafkaSettings(broker), model_topic)
    with ModelSubscriber(settings) as subscriber:
        subscriber.wait(timeout=30, version=2)
        admin = KafkaAdminClient(bootstrap_servers=broker)
        admin.delete_topics([model_topic])
        with pytest.raises(Unavailable):
            sink.write(CHAIN[2], envelope())
        admin.create_topics({model_topic: {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        deadline = time.monotonic() + 60
        while True:
            try:
                sink.write(CHAIN[2], envelope())
                break
            except Unavailable:
                assert time.monotonic() < deadline
        assert subscriber.wait(timeout=30, version=3).version.digest == CHAIN[2].digest
    assert numbers(sink) == [3]
    (told,) = [record.asmg_fields for record in caplog.records if record.message == "versions-missing"]
    assert (told["first"], told["last"]) == (1, 2)
    assert sink.head().epoch >= 2
    sink.close()


@pytest.mark.broker
def test_an_open_transaction_is_not_a_version(broker: str, model_topic: str) -> None:
    sink = opened(broker, model_topic)
    sink.write(CHAIN[0], envelope())
    sink.close()
    torn = KafkaProducer(bootstrap_servers=broker, transactional_id=model_topic)
    torn.init_transactions()
    torn.begin_transaction()
    for key, value in CHAIN[1].messages(envelope(epoch=2)):
        torn.send(model_topic, key=key, value=value, partition=0).get(timeout=10)
    assert numbers(sink) == [1]
    assert sink.open().version == 1
    sink.write(CHAIN[1], envelope())
    assert numbers(sink) == [1, 2]
    sink.close()
    torn.close()


@pytest.mark.broker
def test_a_version_of_many_chunks_arrives_whole(broker: str, model_topic: str) -> None:
    rows = 200_000
    table = np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float32)
    version = tiny_version(users=range(1, rows), replaced={"parameters.user": table})
    sink = opened(broker, model_topic)
    sink.write(version, envelope())
    (there,) = assembled(sink.read(), "default", NumpyServing())
    sink.close()
    assert there.digest == version.digest
    np.testing.assert_array_equal(there.tensors["parameters.user"], table)


@pytest.mark.broker
def test_behind_the_last_epoch_there_is_nothing_is_sent_that_every_reader_would_refuse(
    broker: str, model_topic: str
) -> None:
    liar = KafkaProducer(bootstrap_servers=broker)
    *_, (key, value) = CHAIN[0].messages(envelope(epoch=2**63 - 1))
    liar.send(model_topic, key=key, value=value, partition=0).get(timeout=10)
    liar.close()
    sink = opened(broker, model_topic)
    before = list(sink.read())
    with pytest.raises(StopTheLine, match="the last there is"):
        sink.write(CHAIN[1], envelope())
    assert list(sink.read()) == before


@pytest.mark.broker
def test_a_missing_topic_is_named(broker: str) -> None:
    with pytest.raises(Unavailable, match="no topic nowhere"):
        KafkaSink(KafkaSettings(broker), "nowhere").open()


def test_an_unreachable_broker_is_unavailable_at_once_and_leaves_no_threads() -> None:
    before = threading.active_count()
    sink = KafkaSink(KafkaSettings("127.0.0.1:1"), "models")
    for attempt in (sink.open, sink.head, sink.reader, lambda: list(sink.read())):
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1.*refused"):
            attempt()
    assert threading.active_count() == before


@pytest.mark.broker
def test_an_outage_loses_nothing_and_repeats_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from broker import LocalBroker
    from kafka import KafkaAdminClient

    monkeypatch.setattr(transaction_module, "_ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(reader_module, "_OFFSETS_MS", 1000)
    with LocalBroker(tmp_path) as own:
        admin = KafkaAdminClient(bootstrap_servers=own.bootstrap)
        admin.create_topics({"models": {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        sink = opened(own.bootstrap, "models")
        sink.write(CHAIN[0], envelope())
        own.stop()
        for _ in range(3):
            with pytest.raises(Unavailable):
                sink.write(CHAIN[1], envelope())
        assert not [thread.name for thread in threading.enumerate() if "network" in thread.name]
        own.start()
        monkeypatch.undo()
        for version in CHAIN[1:]:
            sink.write(version, envelope())
        assert numbers(sink) == [1, 2, 3, 4]
        sink.close()

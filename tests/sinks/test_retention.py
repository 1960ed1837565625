"""Retention on a real topic: what compaction will leave there; who subscribes then has something to start with."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from simulators import MODEL, chain, envelope, pinned, tiny_version, unpinned

from stream_app.broker import KafkaSettings
from stream_app.errors import Unavailable
from stream_app.sinks.hints import Hints
from stream_app.sinks.inventory import Inventory
from stream_app.sinks.kafka import KafkaSink
from stream_app.sinks.topic_look import TopicLook
from stream_app.sinks.transaction import Transaction
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.messages import Key, Manifest, Message
from stream_app.versions.model_version import ModelVersion

CHAIN = chain(6)
KEEP = 2


def opened(broker: str, topic: str, keep: int = KEEP) -> KafkaSink:
    sink = KafkaSink(KafkaSettings(broker), topic, keep=keep)
    sink.open()
    return sink


def records(broker: str, topic: str) -> list[Any]:
    """All that a foreign client finds committed."""
    partition = TopicPartition(topic, 0)
    plain = KafkaConsumer(bootstrap_servers=broker, group_id=None, isolation_level="read_committed")
    with closing(plain):
        plain.assign([partition])
        plain.seek_to_beginning(partition)
        end, found = plain.end_offsets([partition])[partition], []
        while plain.position(partition) < end:
            for some in plain.poll(timeout_ms=500).values():
                found += some
    return found


def compacted(broker: str, topic: str) -> set[bytes]:
    """Keys that still have a value once compaction is through."""
    newest = {record.key: record.value for record in records(broker, topic)}
    return {key for key, value in newest.items() if value is not None}


def keys(*versions: ModelVersion) -> set[bytes]:
    return {key for version in versions for key, _ in version.messages(envelope())}


def operate(broker: str, topic: str, message: Message) -> int:
    """Sends a control record as an operator does; returns its offset."""
    producer = KafkaProducer(bootstrap_servers=broker, transactional_id=f"control-{topic}")
    with closing(producer):
        producer.init_transactions()
        producer.begin_transaction()
        sent = producer.send(topic, key=message[0], value=message[1], partition=0).get(timeout=10)
        producer.commit_transaction()
    return int(sent.offset)


@pytest.mark.broker
def test_the_newest_stay_and_who_subscribes_then_is_served_the_newest(broker: str, model_topic: str) -> None:
    with closing(opened(broker, model_topic)) as sink:
        for version in CHAIN[:5]:
            sink.write(version, envelope())
    assert compacted(broker, model_topic) == keys(*CHAIN[3:5])
    order = [record.key for record in records(broker, model_topic) if record.value is None]
    for version in CHAIN[:3]:
        own = [key for key in order if Key.parse(key).version == version.number]
        assert Key.parse(own[0]).chunk is None, "the manifest goes before its chunks"
    with ModelSubscriber(SubscriberSettings(KafkaSettings(broker), model_topic)) as subscriber:
        assert subscriber.wait(timeout=30).version.digest == CHAIN[4].digest


@pytest.mark.broker
def test_what_is_pinned_while_versions_are_sent_stays_until_it_is_unpinned(broker: str, model_topic: str) -> None:
    with closing(opened(broker, model_topic)) as sink:
        for version in CHAIN[:2]:
            sink.write(version, envelope())
        operate(broker, model_topic, pinned(CHAIN[0]))
        for version in CHAIN[2:5]:
            sink.write(version, envelope())
        assert compacted(broker, model_topic) == keys(CHAIN[0], *CHAIN[3:5]) | {b"control"}
        operate(broker, model_topic, unpinned())
        sink.write(CHAIN[5], envelope())
    assert compacted(broker, model_topic) == keys(*CHAIN[4:]) | {b"control"}


@pytest.mark.broker
def test_what_is_pinned_while_a_version_is_being_sent_stays(
    broker: str, model_topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Transaction.commit

    def operate_first(transaction: Transaction) -> None:
        monkeypatch.undo()
        operate(broker, model_topic, pinned(CHAIN[0]))
        commit(transaction)

    with closing(opened(broker, model_topic)) as sink:
        for version in CHAIN[:2]:
            sink.write(version, envelope())
        monkeypatch.setattr(Transaction, "commit", operate_first)
        sink.write(CHAIN[2], envelope())
    assert compacted(broker, model_topic) == keys(*CHAIN[:3]) | {b"control"}


@pytest.mark.broker
def test_what_is_pinned_when_it_is_about_to_go_stays(
    broker: str, model_topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher has looked, and has not begun to remove: what it does not know has priority all the same."""
    superfluous = Inventory.superfluous

    def then_operate(inventory: Inventory, most: int, sent: int = 0) -> list[bytes]:
        monkeypatch.undo()
        operate(broker, model_topic, pinned(CHAIN[0]))
        return superfluous(inventory, most, sent)

    with closing(opened(broker, model_topic)) as sink:
        for version in CHAIN[:2]:
            sink.write(version, envelope())
        monkeypatch.setattr(Inventory, "superfluous", then_operate)
        sink.write(CHAIN[2], envelope())
        assert compacted(broker, model_topic) == keys(*CHAIN[:3]) | {b"control"}
        sink.write(CHAIN[3], envelope())
    assert compacted(broker, model_topic) == keys(CHAIN[0], *CHAIN[2:4]) | {b"control"}


@pytest.mark.broker
def test_a_pin_that_was_begun_before_a_version_and_is_committed_after_it_holds(broker: str, model_topic: str) -> None:
    """Until then the broker shows nobody what the publisher itself has committed."""
    producer = KafkaProducer(bootstrap_servers=broker, transactional_id=f"control-{model_topic}")
    with closing(producer), closing(opened(broker, model_topic)) as sink:
        for version in CHAIN[:2]:
            sink.write(version, envelope())
        producer.init_transactions()
        producer.begin_transaction()
        key, value = pinned(CHAIN[0])
        producer.send(model_topic, key=key, value=value, partition=0).get(timeout=10)
        later = threading.Timer(0.5, producer.commit_transaction)
        later.start()
        sink.write(CHAIN[2], envelope())
        later.join()
    assert compacted(broker, model_topic) == keys(*CHAIN[:3]) | {b"control"}


@pytest.mark.broker
def test_what_a_publisher_leaves_undone_the_next_one_does(
    broker: str, model_topic: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its removal breaks off in the middle: an open transaction, of which nobody sees anything."""
    caplog.set_level("INFO")
    with closing(opened(broker, model_topic, keep=0)) as all_of_them:
        for version in CHAIN[:4]:
            all_of_them.write(version, envelope())
    sent = Transaction.send

    def dies(transaction: Transaction, key: bytes, value: bytes | None, headers: Any = None) -> None:
        sent(transaction, key, value, headers)
        if value is None and Key.parse(key).chunk == 3:
            raise Unavailable("died")

    monkeypatch.setattr(Transaction, "send", dies)
    with closing(opened(broker, model_topic)) as sink:
        sink.write(CHAIN[4], envelope())
    monkeypatch.undo()
    assert compacted(broker, model_topic) == keys(*CHAIN[:5])
    assert [one.message for one in caplog.records if one.message == "retention-waits"] == ["retention-waits"]
    with closing(opened(broker, model_topic)) as later:
        later.write(CHAIN[5], envelope())
    assert compacted(broker, model_topic) == keys(*CHAIN[4:])


@pytest.mark.broker
def test_manifests_say_where_their_version_begins_and_what_was_known_of_control(broker: str, model_topic: str) -> None:
    with closing(opened(broker, model_topic)) as sink:
        sink.write(CHAIN[0], envelope())
        control = operate(broker, model_topic, unpinned())
        for version in CHAIN[1:4]:
            sink.write(version, envelope())
    found = records(broker, model_topic)
    manifests = [r for r in found if r.value is not None and r.key.endswith(b"manifest")]
    hints = [Hints.of(record.headers, record.offset) for record in manifests]
    firsts = [min(r.offset for r in found if r.key.startswith(b"%012d/000000" % n)) for n in (1, 2, 3, 4)]
    assert [hint and hint.first for hint in hints] == firsts
    assert [hint and hint.control for hint in hints] == [None, control, control, control]
    for hint, first in zip(hints, firsts, strict=True):
        assert hint is not None
        others = [r.offset for r in found if hint.looked <= r.offset < first and r.value is not None]
        assert others == [], "whoever begins there misses no control record"
    buried = [record for record in found if record.value is None]
    newest = [int(dict(record.headers)["asmg-newest"]) for record in buried]
    assert set(newest) == {manifests[2].offset, manifests[3].offset}


@pytest.mark.broker
def test_a_publisher_reads_what_others_wrote_and_not_what_it_wrote_itself(broker: str, model_topic: str) -> None:
    look = TopicLook(KafkaSettings(broker), model_topic, MODEL, KEEP)
    with closing(look), closing(KafkaProducer(bootstrap_servers=broker)) as producer:
        assert look.look().head("here").version == 0
        offsets = {}
        for version in CHAIN[:3]:
            for key, value in version.messages(envelope()):
                offsets[key] = producer.send(model_topic, key=key, value=value, partition=0).get(timeout=10).offset
        for number in (1, 3):
            look.wrote([offset for key, offset in offsets.items() if Key.parse(key).version == number])
        assert dict(look.look().head("here").digests) == {2: CHAIN[1].digest}
        assert look.position == max(offsets.values()) + 1


@pytest.mark.broker
def test_a_removal_as_another_program_might_have_left_it_is_finished(broker: str, model_topic: str) -> None:
    with closing(opened(broker, model_topic, keep=0)) as sink:
        for version in CHAIN[:3]:
            sink.write(version, envelope())
    first = sorted(keys(CHAIN[0]))
    with closing(KafkaProducer(bootstrap_servers=broker)) as producer:
        for key in [first[-1], *first[:4]]:  # the manifest, some chunks
            producer.send(model_topic, key=key, value=None, partition=0).get(timeout=10)
    with closing(opened(broker, model_topic)) as later:
        later.write(CHAIN[3], envelope())
    assert compacted(broker, model_topic) == keys(*CHAIN[2:4])


@pytest.mark.broker
def test_a_new_run_takes_the_place_of_the_old_one(broker: str, model_topic: str) -> None:
    anew = [tiny_version(1, seed=9)]
    anew.append(tiny_version(2, anew[0].digest, seed=9))
    with closing(opened(broker, model_topic)) as sink:
        for version in CHAIN[:4]:
            sink.write(version, envelope())
    with closing(opened(broker, model_topic)) as later:
        for version in anew:
            later.write(version, envelope(run="second"))
    assert compacted(broker, model_topic) == keys(*anew)
    manifests = [r.value for r in records(broker, model_topic) if r.value is not None and r.key.endswith(b"manifest")]
    assert Manifest.unpack(manifests[-1]).envelope.run == "second"


@pytest.mark.broker
def test_of_a_topic_that_was_made_anew_nothing_old_is_known_however_far_it_has_grown(
    broker: str, model_topic: str
) -> None:
    look = TopicLook(KafkaSettings(broker), model_topic, MODEL, KEEP)
    with closing(look), closing(KafkaAdminClient(bootstrap_servers=broker)) as admin:
        operate(broker, model_topic, pinned(CHAIN[0]))
        assert look.look().control is not None
        look.close()
        admin.delete_topics([model_topic])
        admin.create_topics({model_topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        with closing(KafkaProducer(bootstrap_servers=broker)) as producer:
            for key, value in CHAIN[0].messages(envelope()):
                producer.send(model_topic, key=key, value=value, partition=0).get(timeout=30)
        assert look.look().control is None
        assert look.inventory.head("here").version == 1


@pytest.mark.broker
def test_a_publisher_looks_no_sooner_than_the_broker_shows_what_it_has_committed(broker: str, model_topic: str) -> None:
    """Else it would take it for somebody else's later on, and read it all back."""
    look = TopicLook(KafkaSettings(broker), model_topic, MODEL, KEEP)
    producer = KafkaProducer(bootstrap_servers=broker, transactional_id=f"ours-{model_topic}")
    with closing(look), closing(producer):
        look.look()
        producer.init_transactions()
        producer.begin_transaction()
        sent = [producer.send(model_topic, key=key, value=b"", partition=0) for key in sorted(keys(CHAIN[0]))]
        offsets = [future.get(timeout=10).offset for future in sent]
        later = threading.Timer(0.5, producer.commit_transaction)
        later.start()
        look.wrote(offsets)
        look.look()
        later.join()
        assert look.position > offsets[-1]

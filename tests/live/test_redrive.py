"""What is sent again enters once: whatever is killed, run twice or at the same time; and nothing else is sent."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from live_helpers import PATIENCE, Reader, decoded, record
from segments_by_hand import segment

from stream_app.dead_letters.judge import Outcome
from stream_app.dead_letters.redrive import Redrive, Wanted, collect_group
from stream_app.errors import BadInput, SettingsError, StopTheLine
from stream_app.events.dead_letter import DeadLetter, Origin
from stream_app.events.record import RecordSettings
from stream_app.events.segment import PartitionSet, RunMark, Segment
from stream_app.live.worker import Role
from stream_app.live.worker_settings import WorkerSettings

pytestmark = pytest.mark.broker
Start = Callable[[WorkerSettings, Role], Any]
Make = Callable[[str], Reader]
CHILD = Path(__file__).with_name("redrive_child.py")


class Town:
    """The topics of a test: originals on the interactions topic, their letters, and collectors that passed them all."""

    def __init__(self, settings: WorkerSettings, producer: KafkaProducer) -> None:
        self.settings, self.producer = settings, producer
        self.topic = settings.topics.interactions

    def refused(self, value: bytes, reason: str = "missing-field", partition: int = 0, **letter: Any) -> Origin:
        """A message, and the letter that says that it was refused."""
        at = self.producer.send(self.topic, value, key=b"k", partition=partition).get(timeout=PATIENCE)
        origin = Origin(self.topic, partition, at.offset)
        self.bury(DeadLetter.of(origin, at.timestamp, value, reason, "user_id", record_key=b"k", **letter))
        return origin

    def bury(self, letter: DeadLetter) -> None:
        self.producer.send(self.settings.topics.dead_letters, letter.encode(), letter.key, partition=0).get(PATIENCE)

    def collected(self, offset: int = 1_000) -> None:
        """The collectors' group has committed this offset on every partition."""
        self.committed(collect_group(self.settings), self.topic, dict.fromkeys(range(4), offset))

    def committed(self, group: str, topic: str, offsets: dict[int, int]) -> None:
        consumer = KafkaConsumer(bootstrap_servers=self.settings.kafka.bootstrap, group_id=group)
        tps = {TopicPartition(topic, number): offset for number, offset in offsets.items()}
        consumer.assign(list(tps))
        consumer.commit({tp: OffsetAndMetadata(offset, "", -1) for tp, offset in tps.items()})
        consumer.close(autocommit=False)


@pytest.fixture
def town(settings: WorkerSettings, producer: KafkaProducer) -> Town:
    return Town(settings, producer)


def run(settings: WorkerSettings, *, dry_run: bool = False, **wanted: Any) -> list[Outcome]:
    with Redrive(settings, Wanted(**wanted), dry_run) as going:
        return list(going.run())


def sent_again(town: Town, make: Make) -> list[Any]:
    """What a reader of committed records sees with the header, found by a plain client."""
    reader = make(town.topic)
    reader.until(lambda records: all(reader.consumer.position(tp) >= end for tp, end in tops(reader).items()))
    return [record for record in reader.records if "asmg-redriven" in dict(record.headers)]


def tops(reader: Reader) -> dict[TopicPartition, int]:
    return dict(reader.consumer.end_offsets(reader.partitions))


def origins(records: list[Any]) -> Counter[str]:
    return Counter(dict(record.headers)["asmg-redriven"].decode() for record in records)


def became(outcomes: list[Outcome]) -> dict[str, str]:
    return {str(outcome.letter.origin): outcome.became for outcome in outcomes}


def test_refused_records_are_collected_once_after_the_setting_is_mended(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Make
) -> None:
    town, wrong = Town(settings, producer), replace(settings, records=RecordSettings(user="uid"))
    for user in range(40):
        producer.send(
            town.topic, record(user, 1, 1000), key=b"u%d" % user, partition=user % 4, headers=[("trace", b"t")]
        )
    junk = producer.send(town.topic, b"\xc1", partition=2).get(timeout=PATIENCE)
    producer.flush()
    collector = start(wrong, "collect")
    reader(settings.topics.dead_letters).until(lambda records: len(records) == 41)
    while became(run(settings, dry_run=True))[f"{town.topic}/2/{junk.offset}"] == "not-collected":
        pass  # the commit follows within half a second
    collector.terminate()
    collector.join()

    assert Counter(became(run(settings)).values()) == {"sent": 40, "undecodable": 1}
    again = sent_again(town, reader)
    assert {(msgpack.unpackb(one.value)["user_id"], one.partition, one.key) for one in again} == {
        (user, user % 4, b"u%d" % user) for user in range(40)
    }
    assert all(one.headers[0] == ("trace", b"t") for one in again)
    assert became(run(settings)) == {f"{town.topic}/2/{junk.offset}": "undecodable"}

    start(settings, "collect")
    written, rows = reader(settings.topics.segments), Counter[int]()

    def all_of_them(records: list[Any]) -> bool:
        rows.clear()
        for one in decoded(records):
            if isinstance(one, Segment):
                rows.update(one.interactions.users.tolist())
        return len(rows) == 40

    written.until(all_of_them)
    assert set(rows.values()) == {1}


def test_killed_in_the_middle_of_everything_and_run_again_each_is_sent_once(town: Town, reader: Make) -> None:
    expected = [town.refused(record(user, 1, 1000), partition=user % 4) for user in range(20)]
    town.collected()
    names = ",".join((town.settings.kafka.bootstrap, town.settings.model, *town.settings.topics.names))
    for call, number in (("send", 2), ("send", 11), ("commit", 2), ("committed", 1)):
        child = subprocess.run([sys.executable, str(CHILD), names, call, str(number)], check=False, capture_output=True)
        assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    run(town.settings)
    assert origins(sent_again(town, reader)) == Counter(str(origin) for origin in expected)
    assert run(town.settings) == []


def test_a_second_redrive_fences_the_first_and_neither_sends_what_the_other_has_sent(
    town: Town, reader: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.dead_letters.redrive._LETTERS", 2)
    expected = [town.refused(record(user, 1, 1000)) for user in range(6)]
    town.collected()
    with Redrive(town.settings, Wanted()) as first:
        going = first.run()
        assert next(going).sent
        with Redrive(town.settings, Wanted()) as second:
            assert len(second) == 4
            next(going)  # of the first transaction, which was there already
            with pytest.raises(StopTheLine, match="another process"):
                next(going)
            assert {outcome.became for outcome in second.run()} == {"sent"}
    assert origins(sent_again(town, reader)) == Counter(str(origin) for origin in expected)


def test_a_letter_that_is_repeated_after_its_original_was_sent_again_stays_closed(town: Town, reader: Make) -> None:
    origin = town.refused(record(1, 1, 1000))
    town.collected()
    assert len(run(town.settings)) == 1
    town.bury(DeadLetter.of(origin, 0, record(1, 1, 1000), "missing-field"))
    assert run(town.settings) == []
    assert len(sent_again(town, reader)) == 1


def test_what_no_collector_has_passed_is_not_sent(town: Town, reader: Make) -> None:
    first, second = town.refused(record(1, 1, 1000)), town.refused(record(2, 1, 1000))
    assert set(became(run(town.settings)).values()) == {"not-collected"}
    town.collected(second.offset)
    assert became(run(town.settings)) == {str(first): "sent", str(second): "not-collected"}
    assert origins(sent_again(town, reader)) == Counter([str(first)])


def test_what_a_newer_run_has_read_again_is_not_sent(town: Town, reader: Make) -> None:
    before = [town.refused(record(user, 1, 1000), partition=user % 2) for user in range(4)]
    town.collected()
    producer, segments = town.producer, town.settings.topics.segments
    mark = producer.send(segments, RunMark("b").encode(), partition=0).get(PATIENCE)
    town.committed(town.settings.kafka.our("window_group", town.settings.model), segments, {0: mark.offset})
    assert set(became(run(town.settings)).values()) == {"earlier-run"}
    for one in (PartitionSet(2), segment(0, 0, []), segment(1, 1, [])):  # it reads partition 1 from offset 1 on
        producer.send(segments, one.encode(), partition=0).get(PATIENCE)
    again = DeadLetter.of(before[2], 0, record(2, 1, 1000), "missing-field")  # refused by the newer run, too
    town.bury(again)
    assert became(run(town.settings)) == {
        str(before[0]): "earlier-run",
        str(before[1]): "sent",
        str(before[2]): "sent",
        str(before[3]): "earlier-run",
    }
    assert origins(sent_again(town, reader)) == Counter(map(str, before[1:3]))


def test_a_cut_original_is_fetched_from_its_origin_and_told_when_it_is_not_there_as_it_was(
    town: Town, reader: Make
) -> None:
    large = msgpack.packb({"user_id": 1, "item_id": 2, "timestamp": 1000, "label": 1, "more": bytes(100_000)})
    gone, forged, there = town.refused(large), town.refused(record(1, 1, 1000), partition=1), town.refused(large)
    other = DeadLetter.of(forged, 0, large, "missing-field")  # another message than the one that lies there
    town.bury(other)
    town.collected()
    admin = KafkaAdminClient(bootstrap_servers=town.settings.kafka.bootstrap)
    admin.delete_records({TopicPartition(town.topic, 0): gone.offset + 1})
    admin.close()
    assert became(run(town.settings)) == {
        str(gone): "original-gone",
        str(forged): "original-gone",
        str(there): "sent",
    }
    assert [one.value for one in sent_again(town, reader)] == [large]


def test_a_dry_run_sends_nothing_and_fences_nobody(town: Town, reader: Make) -> None:
    origin = town.refused(record(1, 1, 1000))
    town.collected()
    with Redrive(town.settings, Wanted()) as going:
        assert became(run(town.settings, dry_run=True)) == {str(origin): "sent"}
        assert sent_again(town, reader) == []
        assert became(list(going.run())) == {str(origin): "sent"}


def test_only_what_is_asked_for_is_sent_and_late_letters_only_by_their_reason(town: Town, reader: Make) -> None:
    missing = town.refused(record(1, 1, 1000))
    wrong, late = town.refused(record(2, 1, 1000), "wrong-type"), town.refused(record(3, 1, 1000), "late")
    town.collected()
    with pytest.raises(BadInput, match="no dead letter of"):
        run(town.settings, origins=(wrong, Origin(town.topic, 0, 999)))
    assert became(run(town.settings, origins=(wrong,))) == {str(wrong): "sent"}
    assert became(run(town.settings)) == {str(missing): "sent"}
    for policy in ("dead-letter", "drop"):
        strict = replace(town.settings, periods=replace(town.settings.periods, late=policy))
        with pytest.raises(SettingsError, match=r"periods\.late.*late again"):
            run(strict, reasons=("late",))
    assert became(run(town.settings, reasons=("late",))) == {str(late): "sent"}
    assert origins(sent_again(town, reader)) == Counter(map(str, (missing, wrong, late)))


def test_what_lies_in_headers_is_judged_and_sent_again_and_what_is_not_wanted_stays(town: Town, reader: Make) -> None:
    value, sent = record(1, 1, 1000), []
    for kind in (b"view", b"cart"):
        headers = [("kind", kind), ("big", bytes(9_000))]  # more than a letter holds
        at = town.producer.send(town.topic, value, partition=0, headers=headers).get(PATIENCE)
        sent.append(Origin(town.topic, 0, at.offset))
        town.bury(DeadLetter.of(sent[-1], at.timestamp, value, "wrong-type", headers=headers))
    town.collected()
    only_views = replace(town.settings, records=RecordSettings(where={"header:kind": ("view",)}))
    assert became(run(only_views)) == {str(sent[0]): "sent", str(sent[1]): "passed-over"}
    (again,) = sent_again(town, reader)
    assert again.headers[:2] == [("kind", b"view"), ("big", bytes(9_000))]


@pytest.mark.parametrize("time_from", ["field", "kafka"])
def test_the_kafka_timestamp_is_the_originals_where_it_may_be_the_event_time(
    town: Town, reader: Make, time_from: Any
) -> None:
    at = town.producer.send(town.topic, record(1, 1, 1000), partition=0, timestamp_ms=1_700_000_000_000).get(PATIENCE)
    origin = Origin(town.topic, 0, at.offset)
    town.bury(DeadLetter.of(origin, 1_700_000_000_000, record(1, 1, 1000), "wrong-type"))
    town.collected()
    run(replace(town.settings, records=RecordSettings(time_from=time_from)))
    stamp = sent_again(town, reader)[0].timestamp
    assert (stamp == 1_700_000_000_000) == (time_from == "kafka")

"""HistoryFollower over a real topic: live from the end of the version's histories on, whatever is served or sent."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from simulators import envelope, tiny_version

from models.interactions import Interactions
from stream_app.broker import KafkaSettings
from stream_app.errors import Unavailable
from stream_app.events.segment import PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.live.cluster.topics import MESSAGE_BYTES
from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import DirectorySink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.cache import CacheWriter
from stream_app.subscriber.histories import HistoryFollower, HistoryHealth, HistorySettings, topic
from stream_app.subscriber.histories.topic import PositionLost, SegmentsTopic
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import ModelVersion
from stream_app.wire import pack_record

LONG = 30.0  # only a failing test waits so long
END = 1_700_000_000_000_000
"""Event time until which the histories of the first version go, in microseconds."""
SECOND = 1_000_000
HOUR = 3600 * SECOND
USERS, ITEMS = (11, 7, 5), (3, 2, 9, 4)
OWN = [4, 3, 3]
"""What the versions say of user 11, the first of it at their last moment."""


@dataclass
class Stream:
    """A segments topic of its own, what is sent to it, and a directory with the versions that are served."""

    broker: str
    topic: str
    producer: KafkaProducer | None
    versions: Path
    offset: int = 0

    def send(self, record: SegmentsRecord | bytes, at: int = END) -> None:
        message = record if isinstance(record, bytes) else record.encode()
        assert self.producer is not None
        self.producer.send(self.topic, message, timestamp_ms=at // 1000).get(timeout=LONG)

    def liked(self, *rows: tuple[int, int, int], label: int = 1, at: int | None = None) -> None:
        """(user, item, event time) as one segment. at: when it is written, in event time."""
        users, items, times = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        self.send(self.segment(Interactions(users, items, times, np.full(len(rows), label, np.float32))), at or END)

    def delete_before(self, offset: int) -> None:
        """As retention does."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker)
        admin.delete_records({TopicPartition(self.topic, 0): offset})
        admin.close()

    def make_anew(self) -> None:
        """Under the same name; what is sent then is numbered from 0."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker)
        admin.delete_topics([self.topic])
        while self.topic in admin.list_topics():
            time.sleep(0.02)
        admin.create_topics({self.topic: {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        assert self.producer is not None
        self.producer.close()
        self.producer, self.offset = KafkaProducer(bootstrap_servers=self.broker), 0

    def segment(self, rows: Interactions) -> Segment:
        first, self.offset = self.offset, self.offset + len(rows)
        return Segment(0, first, self.offset, np.arange(first, self.offset), rows)

    def serve(self, version: ModelVersion, run: str = "first") -> ModelVersion:
        sink = DirectorySink(self.versions, "default")
        sink.open()
        sink.write(version, envelope(run=run))
        return version

    def subscriber(self) -> ModelSubscriber:
        return ModelSubscriber(SubscriberSettings(directory=self.versions, poll=0.02))

    def follower(self, subscriber: ModelSubscriber, broker: str = "") -> HistoryFollower:
        kafka = KafkaSettings(broker or self.broker)
        return HistoryFollower(HistorySettings(kafka, self.topic, poll=0.05), subscriber)


@pytest.fixture
def stream(broker: str, tmp_path: Path) -> Iterator[Stream]:
    name = f"segments-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    configs = {"max.message.bytes": str(MESSAGE_BYTES), "retention.ms": "-1"}
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": configs}})
    admin.close()
    own = Stream(broker, name, KafkaProducer(bootstrap_servers=broker), tmp_path / "versions")
    yield own
    assert own.producer is not None
    own.producer.close()


def version(number: int = 1, parent: str = "", until: int = END, histories: bool = True) -> ModelVersion:
    learning = {"base_model": "embedding-mlp"} | ({"histories_until": until} if histories else {})
    own = [[ITEMS.index(item) + 1 for item in OWN], [], [1]] if histories else None
    return tiny_version(number, parent, USERS, ITEMS, histories=own, newest=(1,), learning=learning)


def until(follower: HistoryFollower, seen: Callable[[HistoryHealth], bool]) -> HistoryHealth:
    deadline = time.monotonic() + LONG
    while not seen(health := follower.health()):
        assert time.monotonic() < deadline, health
        time.sleep(0.01)
    return health


@pytest.mark.broker
def test_histories_are_live_and_go_on_from_version_to_version(stream: Stream) -> None:
    first = stream.serve(version())
    stream.liked((11, 9, END - HOUR), (11, 4, END), (11, 2, END), (7, 3, END + 1), (99, 3, END + 2))
    stream.liked((11, 9, END + 3), label=0)
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        subscriber.wait(LONG)
        follower.wait(LONG)
        assert follower.history(11) == [4, 2, 3, 3], "the last moment as the stream has it, by item"
        assert [follower.history(user) for user in (7, 5, 99, 98)] == [[3], [3], [3], []]
        stream.liked((11, 2, END + 10 * SECOND), (11, 1000, END + 9 * SECOND))
        until(follower, lambda health: health.rows == 6)
        assert follower.history(11) == [2, 1000, 4, 2, 3, 3], "by event time, unknown items too"
        assert follower.history(11, before=END + 10 * SECOND) == [1000, 4, 2, 3, 3]
        model = subscriber.model
        assert model is not None
        given = ServingModel(first).score(11, ITEMS, [2, 1000, 4, 2, 3, 3])
        np.testing.assert_array_equal(model.score(11, ITEMS, follower.history(11, model)), given)

        stream.serve(version(2, first.digest, until=END + 9 * SECOND))
        health = until(follower, lambda health: health.version == 2)
        assert health.until == END + 9 * SECOND
        assert follower.history(11) == [2, 1000, 3, 3]
        assert (health.state, health.missing, health.trouble) == ("following", "", "")


@pytest.mark.broker
def test_it_begins_to_read_where_rows_of_the_version_may_be(stream: Stream) -> None:
    """What lies before would end it: a record that nobody can read."""
    stream.send(b"no segment", at=END - 2 * HOUR)
    stream.liked((11, 9, END + SECOND), at=END - HOUR + SECOND)
    stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        follower.wait(LONG)
        assert follower.history(11) == [9, *OWN]
        assert follower.health().trouble == ""


@pytest.mark.broker
@pytest.mark.parametrize(
    ("record", "named"),
    [
        (pack_record("segment").replace(b"\xa6format\x02", b"\xa6format\x03"), "format 3"),
        (pack_record("later"), "unknown kind 'later'"),
        (pack_record("partitions", count=1, topic_id="", colour="red"), "'colour'"),
        (pack_record("segment", partition=0, first=0, next=1), "users"),
        (b"\xc1", "1 bytes"),
    ],
    ids=["newer format", "unknown kind", "unknown key", "no columns", "no msgpack"],
)
def test_what_it_cannot_read_is_a_named_trouble_and_serving_goes_on(stream: Stream, record: bytes, named: str) -> None:
    stream.liked((11, 9, END + SECOND))
    stream.send(record)
    stream.liked((11, 2, END + 2 * SECOND))
    first = stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        trouble = until(follower, lambda health: bool(health.trouble)).trouble
        assert trouble.startswith("the segments topic holds")
        assert named in trouble
        assert follower.history(11) == [9, *OWN]
        stream.serve(version(2, first.digest, until=END + 3 * SECOND))
        model = subscriber.wait(LONG, version=2)
        assert model.score(11, ITEMS).shape == (4,)
        until(follower, lambda health: health.version == 2)
        assert follower.history(11) == OWN
        assert named in follower.health().trouble


def not_closed(topic: SegmentsTopic) -> None:
    raise RuntimeError("it cannot be closed")


@pytest.mark.broker
@pytest.mark.parametrize("closes", [True, False])
def test_it_goes_on_once_the_topic_no_longer_holds_what_it_cannot_read(
    stream: Stream, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not closes:
        monkeypatch.setattr(SegmentsTopic, "close", not_closed)
    stream.liked((11, 9, END + SECOND))
    stream.send(b"no segment")
    stream.liked((11, 2, END + 2 * SECOND))
    stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        until(follower, lambda health: "10 bytes" in health.trouble)
        stream.delete_before(2)
        until(follower, lambda health: health.rows == 1 and not health.trouble)
        assert follower.history(11) == [2, *OWN]
        assert "begins with offset 2" in follower.health().missing


@pytest.mark.broker
def test_a_topic_that_was_made_anew_is_read_from_its_beginning_however_far_it_has_grown(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic, "_NEW_TOPIC_MS", 200)
    stream.serve(version())
    stream.liked((11, 9, END + 1), (11, 2, END + 2))
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        follower.wait(LONG)
        assert follower.history(11) == [2, 9, *OWN]
        stream.make_anew()
        for moment, item in enumerate((4, 3, 9, 2), END + 3):
            stream.liked((11, item, moment))
        until(follower, lambda health: health.rows == 4)
        assert follower.history(11) == [2, 9, 3, 4, *OWN]
        assert "was made anew" in follower.health().missing


@pytest.mark.broker
def test_an_offset_of_a_topic_that_is_gone_means_nothing_in_the_next(stream: Stream) -> None:
    stream.liked((11, 9, END + 1))
    with pytest.raises(PositionLost, match="was made anew"):
        SegmentsTopic(KafkaSettings(stream.broker), stream.topic, 0, at=1, topic_id="another")


@pytest.mark.broker
def test_ids_of_another_kind_are_a_named_trouble(stream: Stream) -> None:
    texts = np.array(["a"], object)
    rows = Interactions(texts, texts, np.array([END + 1]), np.ones(1, np.float32))
    stream.send(stream.segment(rows))
    stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        assert "string" in until(follower, lambda health: bool(health.trouble)).trouble
        assert follower.history(11) == OWN


@pytest.mark.broker
def test_a_request_that_began_before_a_swap_has_the_whole_history_of_its_version(stream: Stream) -> None:
    stream.liked((11, 9, END + 1), (11, 2, END + 9))
    first = stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        begun = subscriber.wait(LONG)
        follower.wait(LONG)
        second = stream.serve(version(2, first.digest, until=END + 5))
        until(follower, lambda health: health.version == 2)
        assert follower.history(11, begun) == [2, 9, *OWN]
        assert follower.history(11) == [2, *OWN]
        stream.serve(version(3, second.digest, until=END + 10))
        health = until(follower, lambda health: health.version == 3)
        assert (health.rows, health.users) == (1, 1), "nobody scores with the first any more"


@pytest.mark.broker
def test_an_earlier_version_is_continued_by_reading_again(stream: Stream) -> None:
    """A new run begins its versions anew; so does a pin to an older one."""
    stream.liked((11, 9, END + SECOND), (11, 2, END + 5 * SECOND))
    stream.serve(version(until=END + 3 * SECOND))
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        follower.wait(LONG)
        assert follower.history(11) == [2, *OWN]
        sink = DirectorySink(stream.versions, "default")
        sink.open()
        sink.write(version(2, "", until=END), envelope(run="second"))
        until(follower, lambda health: (health.version, health.rows) == (2, 2))
        assert follower.history(11) == [2, 9, *OWN]


@pytest.mark.broker
def test_what_stands_before_a_run_mark_belongs_to_others(stream: Stream) -> None:
    stream.send(PartitionSet(1, "topic"))
    stream.liked((11, 9, END + SECOND), (11, 2, END + 2 * SECOND))
    stream.send(RunMark("next"))
    stream.offset = 1
    stream.liked((11, 2, END + 2 * SECOND))
    stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        follower.wait(LONG)
        assert follower.history(11) == [2, *OWN]


@pytest.mark.broker
def test_rows_that_are_sent_again_count_once_and_a_hole_is_told_until_a_version_is_past_it(stream: Stream) -> None:
    stream.liked((11, 9, END + 1), (11, 2, END + 2))
    stream.offset = 0
    stream.liked((11, 9, END + 1), (11, 2, END + 2), (11, 4, END + 3))
    stream.offset = 7
    stream.liked((11, 3, END + 9))
    first = stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        follower.wait(LONG)
        assert follower.history(11) == [3, 4, 2, 9, *OWN]
        assert "source partition 0: offsets 3 to 6" in follower.health().missing
        second = stream.serve(version(2, first.digest, until=END + 5))
        assert until(follower, lambda health: health.version == 2).missing
        stream.serve(version(3, second.digest, until=END + 10))
        assert until(follower, lambda health: health.version == 3).missing == ""


@pytest.mark.broker
def test_rows_that_retention_took_are_told_as_missing(stream: Stream) -> None:
    stream.liked((11, 9, END + SECOND))
    stream.liked((11, 2, END + 2 * SECOND))
    stream.delete_before(1)
    stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        follower.wait(LONG)
        assert follower.history(11) == [2, *OWN]
        assert "begins with offset 1" in follower.health().missing


@pytest.mark.broker
def test_a_version_without_histories_is_a_named_trouble_until_one_has_them(stream: Stream) -> None:
    first = stream.serve(version(histories=False))
    stream.liked((11, 9, END + SECOND))
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        until(follower, lambda health: "carries no histories" in health.trouble)
        assert follower.history(11) == []
        with pytest.raises(Unavailable, match="carries no histories"):
            follower.wait(0.1)
        stream.serve(version(2, first.digest))
        follower.wait(LONG)
        assert follower.history(11) == [9, *OWN]


def test_without_a_broker_histories_are_those_of_the_version(tmp_path: Path) -> None:
    stream = Stream("127.0.0.1:1", "segments", None, tmp_path / "versions")
    stream.serve(version())
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        subscriber.wait(LONG)
        assert follower.history(11) == OWN
        assert "127.0.0.1:1" in until(follower, lambda health: bool(health.trouble)).trouble
        assert follower.health().state == "waiting"
        assert follower.history(11) == OWN


def test_the_histories_of_a_version_in_a_cache_are_continued_too(tmp_path: Path) -> None:
    first = version()
    with CacheWriter(tmp_path / "cache") as writer:
        writer.write(ServingModel(first), Manifest(first.content, first.content_bytes, envelope()))
    settings = HistorySettings(KafkaSettings("127.0.0.1:1"), "segments", poll=0.05)
    with (
        ModelSubscriber(SubscriberSettings(cache=tmp_path / "cache", poll=0.02)) as subscriber,
        HistoryFollower(settings, subscriber) as follower,
    ):
        model = subscriber.wait(LONG)
        assert follower.history(11, model) == model.own_history(11).items == OWN
        np.testing.assert_array_equal(model.score(11, ITEMS), ServingModel(first).score(11, ITEMS, OWN))


def test_a_forked_process_says_that_nobody_follows_there(tmp_path: Path) -> None:
    stream = Stream("127.0.0.1:1", "segments", None, tmp_path)
    with stream.subscriber() as subscriber, stream.follower(subscriber) as follower:
        child = os.fork()
        if child == 0:
            os._exit(0 if "forked" in follower.health().trouble else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert "forked" not in follower.health().trouble

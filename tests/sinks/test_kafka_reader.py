"""How a reader of a real topic begins: near the end, at a pin, anew; no lie about places keeps it from that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from hand import Hand
from kafka import KafkaAdminClient
from simulators import chain, flipped, pinned, unpinned

from stream_app.broker import KafkaSettings
from stream_app.errors import Unavailable
from stream_app.serving.computing import NumpyServing
from stream_app.sinks import kafka_reader
from stream_app.sinks.hints import Headers, Hints, newest
from stream_app.sinks.kafka_reader import KafkaReader
from stream_app.subscriber.following import Arrival
from stream_app.subscriber.messages import FollowMessages
from stream_app.versions.control import ControlRecord, Pin
from stream_app.versions.messages import CONTROL_KEY, Message

CHAIN = chain(6)
EACH = len(CHAIN[0].content.chunks) + 1
LONG = 30.0  # only a failing test waits so long

pytestmark = pytest.mark.broker


@pytest.fixture
def hand(broker: str, model_topic: str) -> Iterator[Hand]:
    with Hand(broker, model_topic) as publisher:
        yield publisher


@pytest.fixture
def reader(broker: str, model_topic: str) -> Iterator[KafkaReader]:
    with closing(KafkaReader(KafkaSettings(broker), model_topic)) as one:
        yield one


def read(reader: KafkaReader) -> list[Message]:
    """What it gives out until it has caught up."""
    log = list(reader.poll(0.1))
    while reader.behind():
        log += reader.poll(0.1)
    return log


def read_on(reader: KafkaReader) -> None:
    """For a while."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        list(reader.poll(0.1))


def pin_of(message: Message) -> Pin:
    pin = ControlRecord.unpack(message[1] or b"", "default").control.pin
    assert pin is not None
    return pin


class Followed:
    """Whoever follows a topic; `polled` returns the numbers that were served when it has caught up."""

    def __init__(self, broker: str, topic: str) -> None:
        kafka = KafkaSettings(broker)
        self.following = FollowMessages(lambda: KafkaReader(kafka, topic), "default", NumpyServing(), 10**6)

    def polled(self) -> list[int]:
        served = []
        for _ in range(4):
            caught_up = False
            while not caught_up:
                for news in self.following.poll(0.05):
                    served += [news.model.version.number] if isinstance(news, Arrival) else []
                caught_up = self.following.caught_up
        return served


@pytest.fixture
def followed(broker: str, model_topic: str) -> Iterator[Callable[[], Followed]]:
    made: list[Followed] = []

    def follow() -> Followed:
        made.append(Followed(broker, model_topic))
        return made[-1]

    yield follow
    for one in made:
        one.following.close()


# -- where it begins --------------------------------------------------------------------------------------------------


def test_a_start_costs_one_version_and_not_all_that_are_kept(hand: Hand, reader: KafkaReader) -> None:
    for version in CHAIN:
        hand.publish(version)
    log = read(reader)
    assert len(log) == EACH
    assert log[-1][0] == b"000000000006/manifest"
    assert not reader.whole
    assert reader.newest == CHAIN[5].digest
    hand.publish(chain(7)[6])
    assert [key for key, _ in read(reader)][-1] == b"000000000007/manifest"


def test_what_is_had_already_does_not_come_again(hand: Hand, reader: KafkaReader) -> None:
    for version in CHAIN:
        hand.publish(version)
    reader.begin(has=CHAIN[5].digest)
    assert [key for key, _ in read(reader)] == [b"000000000006/manifest"]


def test_the_control_record_comes_first_and_a_pin_brings_its_version_again(hand: Hand, reader: KafkaReader) -> None:
    offsets = [hand.publish(version) for version in CHAIN[:3]]
    record = pinned(CHAIN[1], first=offsets[1][0], last=offsets[1][-1])
    hand.say(record)
    for version in CHAIN[3:]:
        hand.publish(version)
    assert read(reader)[0] == record
    reader.begin(pin_of(record))
    log = read(reader)
    assert log[0] == record
    assert [key for key, _ in log[1:]] == [*(key for key, _ in CHAIN[1].messages(_sent())), b"000000000006/manifest"]


def test_everything_is_read_when_it_is_asked_for(hand: Hand, reader: KafkaReader) -> None:
    for version in CHAIN:
        hand.publish(version)
    assert len(list(reader.until_end())) == 6 * EACH
    assert reader.whole


def _sent() -> Any:
    from simulators import envelope

    return envelope()


# -- lies about places ------------------------------------------------------------------------------------------------

LIES: dict[str, Callable[[list[int]], Headers]] = {
    "none": lambda places: [],
    "the manifest alone": lambda places: Hints(places[-1], places[-1]).headers(),
    "a control record that is none": lambda places: Hints(places[0], places[0], 2).headers(),
}


@pytest.mark.parametrize("lie", LIES)
def test_whatever_hints_say_the_newest_version_is_served(
    hand: Hand, followed: Callable[[], Followed], lie: str
) -> None:
    for version in CHAIN[:2]:
        hand.publish(version)
    begin = hand.looked
    hand.publish(CHAIN[2], LIES[lie]([begin + place for place in range(EACH)]))
    assert followed().polled() == [3]


def test_tombstones_that_name_another_place_mislead_nobody(hand: Hand, followed: Callable[[], Followed]) -> None:
    offsets = [hand.publish(version) for version in CHAIN[:3]]
    keys = [key for key, _ in CHAIN[0].messages(_sent())]
    for place in (offsets[1][-1], offsets[2][0], 10**9):
        hand.send([(key, None) for key in keys], newest(place))
        assert followed().polled() == [3]


def test_a_damaged_newest_version_lets_a_new_subscriber_start_with_the_one_before(
    hand: Hand, followed: Callable[[], Followed]
) -> None:
    for version in CHAIN[:2]:
        hand.publish(version)
    *chunks, manifest = CHAIN[2].messages(_sent())
    offsets = hand.send([*chunks[:3], *chunks[4:]])
    hand.send([manifest], Hints(offsets[0], offsets[0]).headers())
    assert followed().polled() == [2]
    hand.send([flipped(manifest, 999)], Hints(offsets[0], offsets[0]).headers())
    one = followed()
    assert one.polled() == [2]
    hand.publish(CHAIN[3])
    assert one.polled() == [4]


# -- pins -------------------------------------------------------------------------------------------------------------


def test_a_pin_is_obeyed_by_who_runs_and_by_who_begins_and_its_end_too(
    hand: Hand, followed: Callable[[], Followed]
) -> None:
    offsets = [hand.publish(version) for version in CHAIN[:3]]
    running = followed()
    assert running.polled() == [3]
    hand.say(pinned(CHAIN[0], 1, first=offsets[0][0], last=offsets[0][-1]))
    assert running.polled() == [1]
    hand.publish(CHAIN[3])
    assert running.polled() == []
    late = followed()
    assert late.polled() == [1]
    hand.say(unpinned(2))
    assert running.polled() == [4]
    assert late.polled() == [4]


@pytest.mark.parametrize("places", [(3, 40), (50, 10**9), (30, 2)])
def test_a_pin_whose_places_are_wrong_is_obeyed_all_the_same(
    hand: Hand, followed: Callable[[], Followed], places: tuple[int, int]
) -> None:
    for version in CHAIN[:4]:
        hand.publish(version)
    hand.say(pinned(CHAIN[1], 1, first=places[0], last=places[1]))
    hand.publish(CHAIN[4])
    assert followed().polled() == [2]


def test_an_aborted_record_is_not_obeyed_nor_one_whose_transaction_is_open(
    hand: Hand, broker: str, followed: Callable[[], Followed]
) -> None:
    offsets = [hand.publish(version) for version in CHAIN[:2]]
    record = pinned(CHAIN[0], 1, first=offsets[0][0], last=offsets[0][-1])
    (aborted,) = hand.send([record], end="abort")
    hand.control, hand.looked = aborted, aborted + 2
    hand.publish(CHAIN[2])
    running = followed()
    assert running.polled() == [3]
    with Hand(broker, hand.topic) as operator:
        operator.send([record], end="open")
        assert running.polled() == []
        assert followed().polled() == [3]
        operator.producer.commit_transaction()
        assert running.polled() == [1]


# -- the topic itself -------------------------------------------------------------------------------------------------


def test_a_topic_that_was_made_anew_and_has_grown_is_not_read_on(
    hand: Hand, broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "_NEW_TOPIC_MS", 500)
    for version in CHAIN[:2]:
        hand.publish(version)
    with closing(KafkaReader(KafkaSettings(broker), hand.topic)) as reader:
        read(reader)
        admin = KafkaAdminClient(bootstrap_servers=broker)
        admin.delete_topics([hand.topic])
        admin.create_topics({hand.topic: {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        with Hand(broker, hand.topic) as again:
            place = again.say(pinned(CHAIN[0], 1))
            for version in CHAIN[:4]:
                again.publish(version)
        assert place < hand.looked < again.looked, "the record lies before where the reader was, the end behind"
        with pytest.raises(Unavailable, match="made anew"):
            read_on(reader)
    with closing(KafkaReader(KafkaSettings(broker), hand.topic)) as other:
        assert CONTROL_KEY in [key for key, _ in read(other)]


def test_the_client_tells_what_we_ask_of_it_beside_its_interface(reader: KafkaReader) -> None:
    assert reader.topic_id() is not None


def test_a_record_under_another_key_is_no_control_record(hand: Hand, followed: Callable[[], Followed]) -> None:
    hand.publish(CHAIN[0])
    hand.publish(CHAIN[1])
    hand.say((b"contro1", pinned(CHAIN[0])[1]))
    assert followed().polled() == [2]
    assert CONTROL_KEY == b"control"


def test_what_was_aborted_is_no_silence_however_long_it_takes(
    hand: Hand, reader: KafkaReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes with the position: nothing comes for minutes, and the broker gives what it has all the same."""
    hand.publish(CHAIN[0])
    hand.send([(b"aborted", bytes(900_000))] * 20, end="abort")
    hand.publish(CHAIN[1])
    first, end = reader.bounds()
    monkeypatch.setattr(kafka_reader, "time", SimpleNamespace(monotonic=lambda: 10.0 * reader._position()))
    assert len(list(reader.between(first, end))) == 2 * EACH

"""What a subscriber serves while an operator pins and unpins, in memory: every order that a topic can show it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulators import MemorySink, chain, envelope, pinned, unpinned

from stream_app.errors import Unavailable, VersionGap, VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.following import Arrival
from stream_app.subscriber.messages import FollowMessages
from stream_app.versions.messages import Message

CHAIN = chain(6)
LONG = 30.0  # only a failing test waits so long


class Followed:
    """A place in memory and one who follows it; `served` and `refused` grow as it is polled."""

    def __init__(self, *versions: int) -> None:
        self.sink = MemorySink()
        self.publish(*versions)
        self.served, self.refused = list[int](), list[VersionRejected]()
        self.follow()

    def follow(self) -> None:
        """A new process, which knows nothing."""
        self.following = FollowMessages(self.sink.reader, "default", NumpyServing(), 100_000)

    def publish(self, *versions: int) -> None:
        for number in versions:
            self.sink.log += CHAIN[number - 1].messages(envelope())

    def say(self, message: Message) -> None:
        self.sink.log.append(message)

    def polled(self) -> list[int]:
        """The versions that were served since the last call, in order."""
        before = len(self.served)
        for _ in range(20):
            for news in self.following.poll(0):
                if isinstance(news, Arrival):
                    self.served.append(news.model.version.number)
                elif isinstance(news, VersionRejected):
                    self.refused.append(news)
        return self.served[before:]


def test_a_pinned_older_version_is_fetched_again_and_unpinned_the_newest_serves_at_once() -> None:
    place = Followed(1, 2, 3)
    assert place.polled() == [3]
    place.say(pinned(CHAIN[0], 1))
    assert place.polled() == [1]
    assert place.following.pinned == 1
    place.publish(4, 5)
    assert place.polled() == []
    place.say(unpinned(2))
    assert place.polled() == [5]
    assert place.following.pinned is None
    place.publish(6)
    assert place.polled() == [6]
    assert place.refused == []


def test_unpinned_with_nothing_newer_the_one_before_the_pin_serves_again() -> None:
    place = Followed(1, 2, 3)
    assert place.polled() == [3]
    place.say(pinned(CHAIN[0], 1))
    assert place.polled() == [1]
    place.say(unpinned(2))
    assert place.polled() == [3]


def test_who_begins_while_a_pin_holds_never_serves_anything_else() -> None:
    place = Followed(1, 2, 3)
    place.say(pinned(CHAIN[1], 1))
    place.publish(4)
    assert place.polled() == [2]
    assert place.following.pinned == 2


def test_who_begins_after_many_pins_serves_the_newest_alone() -> None:
    place = Followed(1, 2)
    place.say(pinned(CHAIN[0], 1))
    place.publish(3)
    place.say(pinned(CHAIN[1], 2))
    place.say(unpinned(3))
    place.publish(4)
    assert place.polled() == [4]


def test_a_pinned_version_that_is_not_there_is_told_once_and_what_is_served_stays() -> None:
    place = Followed(2, 3)
    assert place.polled() == [3]
    place.say(pinned(CHAIN[0], 1))
    assert place.polled() == []
    assert [type(one) for one in place.refused] == [VersionGap]
    assert "pinned" in str(place.refused[0])
    place.publish(4)
    assert place.polled() == []
    assert len(place.refused) == 1
    place.say(unpinned(2))
    assert place.polled() == [4]


def test_who_begins_while_the_pinned_version_is_not_there_serves_nothing_and_says_why() -> None:
    @dataclass(frozen=True)
    class MemorySettings(SubscriberSettings):
        sink: MemorySink = field(default_factory=MemorySink)
        poll: float = 0.005

        def source(self) -> MemorySink:  # type: ignore[override]
            return self.sink

    place = Followed(2, 3)
    place.say(pinned(CHAIN[0], 1))
    with ModelSubscriber(MemorySettings(sink=place.sink)) as subscriber:
        while not subscriber.health().last_refusal:
            pass
        with pytest.raises(Unavailable, match="version 1: is pinned, and 11 of its chunks have not come"):
            subscriber.wait(0.01)
        assert subscriber.model is None
        assert subscriber.health().pinned == 1


def test_who_begins_between_a_pin_of_what_is_not_there_and_its_end_serves_the_newest() -> None:
    place = Followed(2, 3)
    place.say(pinned(CHAIN[0], 1))
    assert place.polled() == []
    place.say(unpinned(2))
    assert place.polled() == [3]


def test_after_a_lost_connection_the_pin_holds_still() -> None:
    place = Followed(1, 2, 3)
    place.polled()
    place.say(pinned(CHAIN[0], 1))
    assert place.polled() == [1]
    place.following.close()
    place.publish(4)
    assert place.polled() == []
    place.following.close()
    place.say(unpinned(2))
    assert place.polled() == [4]


@given(st.lists(st.tuples(st.sampled_from(["publish", "pin", "unpin", "poll", "restart", "lost"]), st.integers(0, 99))))
@settings(max_examples=60, deadline=None)
def test_whatever_is_said_in_the_end_the_pinned_or_the_newest_version_is_served(said: list[tuple[str, int]]) -> None:
    place, serial, newest, pin = Followed(1), 0, 1, 0
    for doing, draw in said:
        if doing == "publish" and newest < len(CHAIN):
            newest += 1
            place.publish(newest)
        elif doing == "pin":
            serial, pin = serial + 1, 1 + draw % newest
            place.say(pinned(CHAIN[pin - 1], serial))
        elif doing == "unpin":
            serial, pin = serial + 1, 0
            place.say(unpinned(serial))
        elif doing == "poll":
            place.polled()
        elif doing == "restart":
            place.follow()
        else:
            place.following.close()
    place.polled()
    assert place.served[-1:] == [pin or newest]
    assert place.refused == []

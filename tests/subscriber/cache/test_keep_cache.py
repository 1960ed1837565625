"""Keeping a cache of what one follows: what serves, and is on the disk, after restarts, refusals, a full disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cache_helpers import CHAIN, SCORES, numbers, reader, served
from simulators import MemoryReader, MemorySink, envelope, pinned, tiny_version, unpinned

from benchmarks.small_disk import small_disk
from stream_app.errors import DigestMismatch, StaleEpoch, Unavailable, VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.cache import CacheWriter
from stream_app.subscriber.cache.writer import read_current
from stream_app.versions.messages import Message
from stream_app.versions.model_version import ModelVersion

LONG = 30.0


class Place(MemorySink):
    """A place for versions that may be away."""

    away = False

    def reader(self) -> MemoryReader:
        if self.away:
            raise Unavailable("the broker is away")
        return super().reader()


@dataclass(frozen=True)
class Settings(SubscriberSettings):
    sink: Place = field(default_factory=Place)
    poll: float = 0.005

    def source(self) -> Place:
        return self.sink


class Keeper:
    """A subscriber that keeps a cache, and what it was told."""

    def __init__(self, settings: Settings, writer: CacheWriter) -> None:
        self.refused, self.swaps = list[VersionRejected](), list[int]()
        self.keeping = settings.keeping(writer, NumpyServing())
        self.subscriber = ModelSubscriber(
            settings,
            on_swap=lambda model: self.swaps.append(model.version.number),
            on_refusal=self.refused.append,
            following=self.keeping,
        )

    def serves(self, number: int) -> None:
        """Now, or soon; so does the cache."""
        model = self.subscriber.wait(LONG, number)
        assert model.score(11, [3, 2, 9], [4]).tolist() == SCORES[number]


@contextmanager
def keeper(path: Path, place: Place) -> Iterator[Keeper]:
    with CacheWriter(path) as writer:
        one = Keeper(Settings(sink=place), writer)
        with one.subscriber:
            yield one


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + LONG
    while not there():
        assert time.monotonic() < end
        time.sleep(0.005)


def sent(versions: Sequence[ModelVersion], epoch: int = 1) -> list[Message]:
    return [message for version in versions for message in version.messages(envelope(epoch))]


def test_a_version_is_in_the_cache_before_it_serves(tmp_path: Path) -> None:
    place = Place()
    with keeper(tmp_path, place) as one:
        for version in CHAIN[:4]:
            place.log += version.messages(envelope())
            one.serves(version.number)
            assert served(reader(tmp_path)) == version.number
    assert numbers(tmp_path) == [2, 3, 4]


def test_started_again_it_serves_without_the_place_and_goes_on_when_that_is_back(tmp_path: Path) -> None:
    place = Place()
    place.log += sent(CHAIN[:3], epoch=2)
    with keeper(tmp_path, place) as one:
        one.serves(3)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("0*/*")}
    place.away = True
    with keeper(tmp_path, place) as one:
        one.serves(3)
        until(lambda: one.subscriber.health().trouble == "the broker is away")
        place.away = False
        until(lambda: not one.subscriber.health().trouble)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("0*/*")} == before, "nothing is written again"
        place.log += sent(CHAIN[3:4], epoch=2)
        one.serves(4)
        assert (one.refused, one.swaps) == ([], [3, 4])
    assert served(reader(tmp_path)) == 4


def test_started_again_beside_a_place_that_is_behind_it_does_not_go_back(tmp_path: Path) -> None:
    place, behind = Place(), Place()
    place.log += sent(CHAIN[:3], epoch=2)
    with keeper(tmp_path, place) as one:
        one.serves(3)
    behind.log += sent(CHAIN[:2], epoch=1)
    with keeper(tmp_path, behind) as one:
        one.serves(3)
        behind.log += sent(CHAIN[3:4], epoch=3)
        one.serves(4)
        assert (one.refused, one.swaps) == ([], [3, 4])


def pinned_in(path: Path) -> int | None:
    current = read_current(path)
    return None if current is None else current.pinned


def test_what_is_pinned_is_kept_so_also_after_a_restart_until_it_is_unpinned(tmp_path: Path) -> None:
    place = Place()
    with keeper(tmp_path, place) as one:
        for version in CHAIN[:4]:
            place.log += sent([version])
            one.serves(version.number)
        place.log += [pinned(CHAIN[2]), *sent(CHAIN[4:5])]
        until(lambda: one.subscriber.health().version == 3)
        assert one.subscriber.health().pinned == pinned_in(tmp_path) == served(reader(tmp_path)) == 3
    place.away = True
    with keeper(tmp_path, place) as one:
        one.serves(3)
        assert one.subscriber.health().pinned == pinned_in(tmp_path) == 3
        place.away = False
        until(lambda: one.subscriber.health().lag == 0)
        assert one.subscriber.health().pinned == pinned_in(tmp_path) == 3
        assert (set(one.swaps), one.refused) == ({3}, [])
    place.log.append(unpinned())
    with keeper(tmp_path, place) as one:
        one.serves(5)
        until(lambda: pinned_in(tmp_path) is None)
        assert (one.subscriber.health().pinned, one.refused) == (None, [])
    assert served(reader(tmp_path)) == 5


class Torn(Place):
    """A place whose first reader breaks down when it has given all but the last message."""

    torn = False

    def reader(self) -> MemoryReader:
        if self.torn:
            return super().reader()
        self.torn, log = True, self.log

        class Reader(MemoryReader):
            def poll(self, timeout: float) -> Iterator[Message]:
                yield from log[:-1]
                raise Unavailable("torn away")

        return Reader(self)


def test_a_connection_lost_before_the_pin_is_read_again_serves_nothing_else(tmp_path: Path) -> None:
    place, torn = Place(), Torn()
    place.log += sent(CHAIN[:2])
    with keeper(tmp_path, place) as one:
        one.serves(2)
        place.log.append(pinned(CHAIN[0]))
        until(lambda: pinned_in(tmp_path) == 1)
    torn.log += [*sent(CHAIN[:3]), pinned(CHAIN[0])]
    with keeper(tmp_path, torn) as one:
        until(lambda: one.subscriber.health().lag == 0)
        assert (set(one.swaps), served(reader(tmp_path)), pinned_in(tmp_path)) == ({1}, 1, 1)


def test_unpinned_it_goes_back_to_the_newest_that_it_had_although_it_was_started_again(tmp_path: Path) -> None:
    place = Place()
    place.log += sent(CHAIN[:2])
    with keeper(tmp_path, place) as one:
        one.serves(2)
        place.log.append(pinned(CHAIN[0]))
        until(lambda: pinned_in(tmp_path) == 1)
    place.log.append(unpinned())
    with keeper(tmp_path, place) as one:
        one.serves(2)
        assert one.refused == []
    assert served(reader(tmp_path)) == 2


def test_what_served_before_the_pin_counts_after_a_restart(tmp_path: Path) -> None:
    place, lying = Place(), Place()
    place.log += [*sent(CHAIN[:1], epoch=1), *sent(CHAIN[1:2], epoch=3)]
    with keeper(tmp_path, place) as one:
        one.serves(2)
        place.log.append(pinned(CHAIN[0]))
        until(lambda: pinned_in(tmp_path) == 1)
    lying.log += [unpinned(), *sent(CHAIN[2:3], epoch=2)]
    with keeper(tmp_path, lying) as one:
        until(lambda: one.refused)
        assert [type(said) for said in one.refused] == [StaleEpoch]
        assert (set(one.swaps), served(reader(tmp_path))) == ({1}, 1)


def test_pinning_what_serves_already_is_told_to_readers(tmp_path: Path) -> None:
    place = Place()
    place.log += sent(CHAIN[:2])
    with keeper(tmp_path, place) as one:
        one.serves(2)
        following = reader(tmp_path)
        assert served(following) == 2
        place.log.append(pinned(CHAIN[1]))
        until(lambda: pinned_in(tmp_path) == 2)
        assert (served(following), following.pinned) == (None, 2)
        place.log.append(unpinned())
        until(lambda: pinned_in(tmp_path) is None)
        assert (served(following), following.pinned) == (None, None)


@pytest.mark.parametrize(
    ("attack", "refusal"),
    [
        (sent(CHAIN[3:4], epoch=1), StaleEpoch),
        (sent([tiny_version(4, "0" * 64)], epoch=2), DigestMismatch),
        (sent([tiny_version(3, CHAIN[1].digest, seed=9)], epoch=2), DigestMismatch),
    ],
    ids=["a replaced publisher", "another parent", "another version under its number"],
)
def test_what_was_refused_before_is_refused_after_a_restart(
    tmp_path: Path, attack: list[Message], refusal: type[VersionRejected]
) -> None:
    place, lying = Place(), Place()
    place.log += sent(CHAIN[:3], epoch=2)
    with keeper(tmp_path, place) as one:
        one.serves(3)
    lying.log += attack
    with keeper(tmp_path, lying) as one:
        one.serves(3)
        until(lambda: one.refused)
        assert [type(said) for said in one.refused] == [refusal]
        assert one.subscriber.health().version == served(reader(tmp_path)) == 3
        lying.log += sent(CHAIN[3:4], epoch=2)
        one.serves(4)


@pytest.mark.parametrize("file", ["current", "0*/model.safetensors", "0*/derived.safetensors", "0*/manifest.msgpack"])
def test_a_damaged_cache_is_said_and_made_anew_from_the_place(tmp_path: Path, file: str) -> None:
    place = Place()
    place.log += sent(CHAIN[:1])
    with keeper(tmp_path, place) as one:
        one.serves(1)
    (damaged,) = tmp_path.glob(file)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    place.away = True
    with keeper(tmp_path, place) as one:
        until(lambda: one.refused and one.subscriber.health().trouble)
        assert type(one.refused[0]) is DigestMismatch
        assert one.subscriber.model is None
        place.away = False
        one.serves(1)
    assert served(reader(tmp_path)) == 1


def test_what_the_disk_refuses_waits_and_is_served_when_there_is_room(tmp_path: Path) -> None:
    place, large = Place(), tiny_version(2, CHAIN[0].digest, users=range(2000))
    place.log += sent(CHAIN[:1])
    with small_disk(tmp_path / "disk", 40_960) as disk, keeper(tmp_path / "disk" / "cache", place) as one:
        one.serves(1)
        place.log += sent([large])
        until(lambda: one.keeping.refused)
        until(lambda: one.subscriber.health().trouble)
        assert "make room there" in one.subscriber.health().trouble
        assert one.subscriber.health().version == served(reader(tmp_path / "disk" / "cache")) == 1
        disk.grow()
        assert one.subscriber.wait(LONG, 2).version.digest == large.digest
        assert one.keeping.refused is None

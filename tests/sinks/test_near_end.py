"""A reader that begins near the end learns what one that reads everything learns, and reads little for it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulators import chain, envelope, pinned, unpinned

from stream_app.errors import VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.sinks.hints import Headers, Hints, newest
from stream_app.sinks.near_end import Beginning, beginning
from stream_app.versions.assembler import Assembler
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import CONTROL_KEY, PROGRESS_KEY, Message, pack_progress
from stream_app.versions.model_version import ModelVersion

CHAIN = chain(8)
CHUNKS = len(list(CHAIN[0].messages(envelope()))) - 1


@dataclass
class Record:
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass
class Log:
    """A topic with an honest publisher and an operator, as offsets and records; a mark of each transaction takes one.

    read: how many records were asked for.
    """

    records: list[Record] = field(default_factory=list)
    end: int = 0
    control: int | None = None
    sent: dict[int, Envelope] = field(default_factory=dict)
    serial: int = 0
    read: int = 0

    def append(self, message: Message, headers: Sequence[tuple[str, bytes]] = ()) -> int:
        self.records.append(Record(self.end, *message, list(headers)))
        self.end += 1
        return self.end - 1

    def publish(
        self, number: int, sent: Envelope, operator: Message | None = None, earlier: Message | None = None
    ) -> None:
        """A version; `operator` sends a record meanwhile, `earlier` after the publisher looked and before it begins."""
        looked, control = self.end, self.control
        if earlier is not None:
            self.operate(earlier)
        first = self.end
        *chunks, manifest = CHAIN[number - 1].messages(sent)
        for place, chunk in enumerate(chunks):
            self.append(chunk)
            if operator is not None and place == 3:
                self.operate(operator)
        self.append(manifest, Hints(first, looked, control).headers())
        self.end += 1
        self.sent[number] = sent

    def operate(self, message: Message) -> None:
        self.control = self.append(message)
        self.end += 1

    def bury(self, number: int) -> None:
        """Tombstones for a version: its manifest first, then its chunks."""
        place = max(record.offset for record in self.records if record.value and b"manifest" in (record.key or b""))
        for key, _ in reversed(list(CHAIN[number - 1].messages(envelope()))):
            self.append((key, None), newest(place))
        self.end += 1

    def compact(self, below: int) -> None:
        """Keeps the last record of each key, and of what lies below `below` no tombstone."""
        last = {record.key: record.offset for record in self.records}
        self.records = [
            record
            for record in self.records
            if last[record.key] == record.offset and (record.value is not None or record.offset >= below)
        ]

    def between(self, start: int, stop: int) -> Iterator[Record]:
        for record in self.records:
            if start <= record.offset < stop:
                self.read += 1
                yield record

    def beginning(self) -> Beginning:
        return beginning(self.between, 0, self.end)

    def learned(self, place: Beginning) -> tuple[str, object]:
        """Digest of what is served, and the pin, after reading from there on; anew when the pin changes."""
        assembler = Assembler("default", NumpyServing())
        before: object = self
        while before is not assembler.pin:
            before = assembler.pin
            self._fed(assembler, place)
        return "" if assembler.served is None else assembler.served.digest, assembler.pin

    def _fed(self, assembler: Assembler, place: Beginning) -> None:
        """Until the pin changes, or to the end."""
        log = [] if place.control is None else [place.control]
        log += [(record.key, record.value) for record in self.between(place.start, self.end)]
        before = assembler.pin
        for key, value in log:
            if key != PROGRESS_KEY and assembler.pin is before:
                with suppress(VersionRejected):
                    assembler.feed(key, value)


EVERYTHING = Beginning(0)


def published(count: int) -> Log:
    log = Log()
    for number in range(1, count + 1):
        log.publish(number, envelope())
    return log


def pin(log: Log, version: ModelVersion) -> Message:
    log.serial += 1
    return pinned(version, log.serial, log.sent[version.number])


def unpin(log: Log) -> Message:
    log.serial += 1
    return unpinned(log.serial)


def test_it_begins_with_the_first_chunk_of_the_newest_version() -> None:
    log = published(5)
    place = log.beginning()
    begin, stop = 4 * (CHUNKS + 2), 5 * (CHUNKS + 2) - 2
    assert place == (begin, None, CHAIN[4].digest, (begin, stop))
    assert place.ranges() == [(begin, None)]
    assert place.ranges(wanted=False) == [(stop, None)]
    assert place._replace(start=begin - 1).ranges(wanted=False) == [(begin - 1, begin), (stop, None)]
    assert log.read <= 4
    assert log.learned(place) == (CHAIN[4].digest, None)


def test_a_record_that_comes_between_the_look_and_the_first_chunk_is_not_missed() -> None:
    log = published(2)
    log.publish(3, envelope(), earlier=pin(log, CHAIN[0]))
    assert log.learned(log.beginning())[1] is not None
    assert log.beginning().ranges(wanted=False)[0][0] == log.beginning().start


def test_chunks_that_are_not_wanted_are_passed_over_only_where_nobody_has_written_in_between() -> None:
    log = published(2)
    log.publish(3, envelope(), operator=pin(log, CHAIN[0]))
    place = log.beginning()
    assert place.ranges(wanted=False) == place.ranges()


def test_the_control_record_that_the_publisher_knew_comes_first_and_a_later_one_by_itself() -> None:
    log = published(2)
    first = pin(log, CHAIN[0])
    log.operate(first)
    log.publish(3, envelope())
    assert log.beginning().control == first
    later = unpin(log)
    log.operate(later)
    assert log.beginning().control == first
    assert log.learned(log.beginning()) == (CHAIN[2].digest, None)


def test_a_record_that_comes_while_a_version_is_sent_is_not_missed() -> None:
    log = published(2)
    log.publish(3, envelope(), operator=pin(log, CHAIN[0]))
    log.publish(4, envelope())
    for place in (log.beginning(), EVERYTHING):
        _, held = log.learned(place)
        assert held is not None


@pytest.mark.parametrize("buried", [1, 3])
def test_behind_many_tombstones_the_manifest_is_found_by_what_they_say(buried: int) -> None:
    log = published(5)
    for number in range(1, buried + 1):
        log.bury(number)
    place = log.beginning()
    assert place.newest == CHAIN[4].digest
    assert log.read <= 5, "one window, and the manifest"


def test_behind_tombstones_that_say_nothing_it_is_found_in_growing_windows() -> None:
    log = published(5)
    log.bury(1)
    for record in log.records:
        if record.value is None:
            record.headers = []
    assert log.beginning().newest == CHAIN[4].digest


def test_a_record_that_compaction_has_taken_is_looked_for_in_everything() -> None:
    log = published(2)
    log.operate(pin(log, CHAIN[0]))
    log.publish(3, envelope())
    log.operate(unpin(log))
    log.compact(0)
    assert log.beginning() == EVERYTHING
    assert log.learned(EVERYTHING) == (CHAIN[2].digest, None)


LIES: dict[str, Headers] = {
    "no hints": [],
    "beyond the manifest": Hints(10**6, 0).headers(),
    "looked beyond the manifest": Hints(0, 10**6).headers(),
    "a control record that is a chunk": Hints(50, 50, 3).headers(),
    "a control record that is a mark": Hints(50, 50, CHUNKS + 1).headers(),
    "noise": [("asmg-first", b"\xff"), ("asmg-looked", b"0x10")],
}


@pytest.mark.parametrize("lie", LIES)
def test_hints_that_are_missing_or_wrong_lead_to_everything(lie: str) -> None:
    log = published(5)
    log.records[-1].headers = LIES[lie]
    assert log.beginning() == EVERYTHING


def test_what_lies_below_the_beginning_of_the_log_is_not_asked_for() -> None:
    log = published(5)
    log.records = [record for record in log.records if record.offset >= 40]
    asked: list[int] = []

    def between(start: int, stop: int) -> Iterator[Record]:
        asked.append(start)
        return log.between(start, stop)

    log.records[-1].headers = Hints(3, 3).headers()
    assert beginning(between, 40, log.end) == Beginning(40)
    log.records[-1].headers = Hints(50, 50, 5).headers()
    assert beginning(between, 40, log.end) == Beginning(40)
    assert min(asked) >= 40


def test_a_manifest_that_is_damaged_leads_to_everything() -> None:
    log = published(5)
    log.records[-1].value = b"damaged"
    assert log.beginning() == EVERYTHING


@pytest.mark.parametrize("messages", [[], [pack_progress("default", "pretraining")], [(CONTROL_KEY, None)]])
def test_without_a_version_there_is_only_everything(messages: list[Message]) -> None:
    log = Log()
    for message in messages * 100:
        log.append(message)
    assert log.beginning() == EVERYTHING


@given(st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_whatever_honest_publishers_operators_and_compaction_did_both_ways_learn_the_same(draw: random.Random) -> None:
    log, number, epoch = Log(), 0, 1
    for _ in range(draw.randint(1, 10)):
        doing = draw.choice(("publish", "publish", "pin", "unpin", "bury", "compact", "take over", "progress"))
        if doing == "publish" and number < len(CHAIN):
            number += 1
            earlier = pin(log, CHAIN[min(log.sent) - 1]) if log.sent and draw.randrange(5) == 0 else None
            meanwhile = unpin(log) if draw.randrange(5) == 0 else None
            log.publish(number, envelope(epoch), operator=meanwhile, earlier=earlier)
        elif doing == "pin" and log.sent:
            log.operate(pin(log, CHAIN[draw.choice(sorted(log.sent)) - 1]))
        elif doing == "unpin":
            log.operate(unpin(log))
        elif doing == "bury" and len(log.sent) > 1:
            oldest = min(log.sent)
            del log.sent[oldest]
            log.bury(oldest)
        elif doing == "compact":
            log.compact(draw.randint(0, log.end))
        elif doing == "take over":
            epoch += 1
        elif doing == "progress":
            log.append(pack_progress("default", "pretraining"))
    near, everything = log.learned(log.beginning()), log.learned(EVERYTHING)
    assert near[1] == everything[1], "the same pin holds"
    if near[1] is None:
        assert near[0] == everything[0], "the same version is served"

"""Rule 7 of the assembler: what is pinned is served and nothing else, and afterwards it goes forward again."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from key_pairs import Pair
from simulators import chain, envelope, flipped, pinned, rekeyed, tiny_version, unpinned

from stream_app.errors import BadSignature, DigestMismatch, SchemaMismatch, StaleEpoch, VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.versions.assembler import Assembler
from stream_app.versions.control import ControlRecord
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import CONTROL_KEY, Manifest, Message, manifest_key
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.signing import Keys, Signer

CHAIN = chain(6)
SECOND_RUN = chain(3, seed=7)
SECOND = envelope(2, run="second")


def messages(version: ModelVersion, sent: Envelope | None = None) -> list[Message]:
    return list(version.messages(sent or envelope()))


def fed(assembler: Assembler, log: list[Message]) -> list[str]:
    """Digests of the versions given out; no refusal is expected."""
    return [version.digest for message in log if (version := assembler.feed(*message)) is not None]


def answered(assembler: Assembler, message: Message) -> ModelVersion | VersionRejected | None:
    try:
        return assembler.feed(*message)
    except VersionRejected as refusal:
        return refusal


def serving(*numbers: int) -> Assembler:
    """An assembler that has served these versions of the chain, in this order."""
    assembler = Assembler("default", NumpyServing())
    for number in numbers:
        assert fed(assembler, messages(CHAIN[number - 1])) == [CHAIN[number - 1].digest]
    return assembler


def test_a_pinned_older_version_is_served_once_its_chunks_are_there_and_the_old_one_until_then() -> None:
    assembler = serving(1, 2, 3)
    *chunks, manifest = messages(CHAIN[0])
    assert fed(assembler, [pinned(CHAIN[0]), *chunks[:-1]]) == []
    assert assembler.served is not None
    assert assembler.served.digest == CHAIN[2].digest
    assert assembler.sought is not None
    assert fed(assembler, [chunks[-1]]) == [CHAIN[0].digest]
    assert assembler.sought is None
    assert fed(assembler, [manifest, *chunks, manifest]) == []
    assert assembler.held_bytes == 0


def test_while_a_pin_holds_newer_versions_are_neither_served_nor_held_and_their_epochs_count() -> None:
    assembler = serving(1, 2, 3)
    assert fed(assembler, [pinned(CHAIN[1]), *messages(CHAIN[1])]) == [CHAIN[1].digest]
    for message in messages(CHAIN[3], envelope(epoch=5)):
        assert fed(assembler, [message]) == []
        assert assembler.held_bytes == 0
    assert assembler.epoch == 5
    assert fed(assembler, [unpinned()]) == []
    assert type(answered(assembler, messages(CHAIN[3], envelope(epoch=4))[-1])) is StaleEpoch
    assert fed(assembler, messages(CHAIN[3], envelope(epoch=5))) == [CHAIN[3].digest]


def test_unpinned_without_anything_newer_the_newest_is_served_once_more() -> None:
    assembler = serving(1, 2, 3)
    fed(assembler, [pinned(CHAIN[0]), *messages(CHAIN[0]), unpinned()])
    assert fed(assembler, [*messages(CHAIN[1]), *messages(CHAIN[0])]) == [], "what it had is no way forward"
    assert fed(assembler, [*messages(CHAIN[2]), *messages(CHAIN[2])]) == [CHAIN[2].digest]
    assert fed(assembler, messages(CHAIN[3])) == [CHAIN[3].digest]


def test_unpinned_the_newest_is_served_again_although_a_later_epoch_has_begun() -> None:
    assembler = serving(1, 2)
    fed(assembler, [pinned(CHAIN[0]), *messages(CHAIN[0])])
    fed(assembler, [messages(CHAIN[2], envelope(epoch=9))[-1], unpinned()])
    assert fed(assembler, messages(CHAIN[1])) == [CHAIN[1].digest]


def test_a_pin_of_what_is_served_changes_nothing_and_keeps_it_there() -> None:
    assembler = serving(1, 2)
    assert fed(assembler, [pinned(CHAIN[1]), *messages(CHAIN[1]), *messages(CHAIN[2])]) == []
    assert assembler.sought is None
    assert assembler.served is not None
    assert assembler.served.digest == CHAIN[1].digest
    assert fed(assembler, [unpinned(), *messages(CHAIN[1]), *messages(CHAIN[2])]) == [CHAIN[2].digest]


@pytest.mark.parametrize("count", range(len(messages(CHAIN[2])) + 1))
def test_a_pin_that_comes_while_its_version_is_half_read_keeps_what_is_held(count: int) -> None:
    assembler = serving(1, 2)
    log = messages(CHAIN[2])
    begun, rest = log[:count], log[count:]
    assert fed(assembler, begun) + fed(assembler, [pinned(CHAIN[2])]) + fed(assembler, rest) == [CHAIN[2].digest]


def test_a_pin_that_comes_while_another_version_is_half_read_drops_that_one() -> None:
    assembler = serving(1)
    assert fed(assembler, [*messages(CHAIN[2])[:4], pinned(CHAIN[1])]) == []
    assert assembler.held_bytes == 0
    assert fed(assembler, [*messages(CHAIN[2])[4:], *messages(CHAIN[1])]) == [CHAIN[1].digest]


def test_at_the_very_first_start_what_is_pinned_is_the_first_that_is_served() -> None:
    assembler = Assembler("default", NumpyServing())
    log = [message for version in CHAIN[:5] for message in messages(version)]
    assert fed(assembler, [pinned(CHAIN[1]), *log]) == [CHAIN[1].digest]
    assert fed(assembler, [unpinned(), *messages(CHAIN[4])]) == [CHAIN[4].digest]


def test_a_version_that_is_pinned_ahead_is_a_way_forward() -> None:
    assembler = serving(1)
    assert fed(assembler, [pinned(CHAIN[3]), *messages(CHAIN[3]), unpinned()]) == [CHAIN[3].digest]
    assert fed(assembler, messages(CHAIN[4])) == [CHAIN[4].digest]


def test_an_unpin_where_nothing_is_pinned_disturbs_nothing() -> None:
    assembler = serving(1)
    *half, manifest = messages(CHAIN[1])
    assert fed(assembler, [*half, unpinned(), manifest]) == [CHAIN[1].digest]


def test_a_pin_once_more_keeps_what_has_come_of_its_version() -> None:
    assembler = serving(1, 2)
    log = messages(CHAIN[0])
    assert fed(assembler, [pinned(CHAIN[0], 1), *log[:5], pinned(CHAIN[0], 2), *log[5:]]) == [CHAIN[0].digest]


def test_of_another_pin_the_chunks_of_the_first_are_forgotten() -> None:
    assembler = serving(4)
    assert fed(assembler, [pinned(CHAIN[0], 1), *messages(CHAIN[0])[:3], pinned(CHAIN[1], 2)]) == []
    assert assembler.held_bytes == 0
    assert fed(assembler, [*messages(CHAIN[0]), *messages(CHAIN[1])]) == [CHAIN[1].digest]


def test_read_again_an_old_record_is_not_obeyed() -> None:
    assembler = serving(1, 2, 3)
    fed(assembler, [pinned(CHAIN[0], 10), *messages(CHAIN[0]), unpinned(11), *messages(CHAIN[3])])
    assert fed(assembler, [pinned(CHAIN[0], 10), *messages(CHAIN[0])[:-1], pinned(CHAIN[1], 9)]) == []
    assert assembler.pin is None
    assert fed(assembler, messages(CHAIN[4])) == [CHAIN[4].digest]


def test_a_tombstone_of_the_record_says_nothing() -> None:
    assembler = serving(1, 2)
    fed(assembler, [pinned(CHAIN[0]), *messages(CHAIN[0]), (CONTROL_KEY, None)])
    assert assembler.pin is not None
    assert fed(assembler, messages(CHAIN[2])) == []


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_version_of_the_run_before_can_be_pinned_and_its_number_used_again_meanwhile() -> None:
    assembler = serving(1, 2, 3)
    assert fed(assembler, messages(SECOND_RUN[0], SECOND)) == [SECOND_RUN[0].digest]
    both = [*messages(SECOND_RUN[1], SECOND), *messages(CHAIN[1])]
    assert fed(assembler, [pinned(CHAIN[1]), *both]) == [CHAIN[1].digest], "number 2 of both runs passes by"
    assert fed(assembler, [unpinned(), *messages(SECOND_RUN[1], SECOND)]) == [SECOND_RUN[1].digest]


def test_a_run_that_begins_while_a_pin_holds_is_followed_afterwards() -> None:
    assembler = serving(1, 2, 3)
    assert fed(assembler, [pinned(CHAIN[2]), *messages(SECOND_RUN[0], SECOND), unpinned()]) == []
    assert fed(assembler, messages(SECOND_RUN[1], SECOND)) == [SECOND_RUN[1].digest]


def test_what_a_pin_led_past_is_passed_over_without_a_word() -> None:
    assembler = serving(1)
    fed(assembler, [pinned(CHAIN[3]), *messages(CHAIN[3]), unpinned()])
    assert fed(assembler, [*messages(CHAIN[1]), *messages(CHAIN[2]), *messages(CHAIN[3])]) == []
    assert fed(assembler, messages(CHAIN[4])) == [CHAIN[4].digest]


def test_after_a_restart_a_new_run_may_begin_below_what_was_served() -> None:
    assembler = Assembler("default", NumpyServing())
    assembler.resume([Manifest.unpack(messages(CHAIN[3])[-1][1] or b"")])
    for version in SECOND_RUN:
        assert fed(assembler, messages(version, SECOND)) == [version.digest]


# -- attacks ----------------------------------------------------------------------------------------------------------


def test_a_pinned_version_with_a_false_chunk_is_not_served_and_the_right_chunk_still_completes_it() -> None:
    assembler = serving(1, 2)
    log = messages(CHAIN[0])
    fed(assembler, [pinned(CHAIN[0]), *log[:2]])
    assert type(answered(assembler, flipped(log[2], 5))) is DigestMismatch
    assert answered(assembler, rekeyed(flipped(log[2], 5))) is None
    assert assembler.served is not None
    assert assembler.served.digest == CHAIN[1].digest
    assert fed(assembler, log[2:]) == [CHAIN[0].digest]


def test_a_false_chunk_that_was_held_before_the_pin_gives_way() -> None:
    assembler = serving(1)
    log = messages(CHAIN[1])
    assert fed(assembler, [rekeyed(flipped(log[2], 5)), *log[:1]]) == []
    assert type(answered(assembler, pinned(CHAIN[1]))) is DigestMismatch
    assert fed(assembler, log) == [CHAIN[1].digest]


def test_a_damaged_record_pins_nothing() -> None:
    assembler = serving(1, 2)
    assert type(answered(assembler, flipped(pinned(CHAIN[0]), 999))) in (DigestMismatch, SchemaMismatch)
    assert assembler.pin is None
    assert fed(assembler, messages(CHAIN[2])) == [CHAIN[2].digest]


def test_a_pinned_version_that_cannot_be_computed_is_refused_and_what_is_served_stays() -> None:
    foreign = {"settings_digest": "0" * 64, "method": "iu", "base_model": "mypackage.net:Net"}
    other = tiny_version(9, learning=foreign)
    assembler = serving(1, 2)
    assert type(answered(assembler, pinned(other))) is SchemaMismatch
    assert assembler.sought is None
    assert fed(assembler, [*messages(other)[:-1], *messages(CHAIN[2])]) == [], "the pin holds all the same"
    assert assembler.held_bytes == 0
    assert fed(assembler, [unpinned(), *messages(CHAIN[2])]) == [CHAIN[2].digest]


def test_with_keys_a_record_that_they_did_not_sign_pins_nothing(tmp_path: Path) -> None:
    ours, theirs = Pair(tmp_path, "ours"), Pair(tmp_path, "theirs")
    assembler = Assembler("default", NumpyServing(), keys=Keys.of([str(ours.public)]))
    sender = Signer(str(ours.private))
    signed = [sender.signed(version.content_bytes, envelope()) for version in CHAIN[:2]]
    for version, sent in zip(CHAIN, signed, strict=False):
        assert fed(assembler, messages(version, sent)) == [version.digest]
    record = ControlRecord.unpack(pinned(CHAIN[0], sent=signed[0])[1] or b"", "default")
    forged = Signer(str(theirs.private)).signed_control(record)
    replayed = record._replace(signature=signed[0].signature)
    for false in (record, forged, replayed):
        assert type(answered(assembler, (CONTROL_KEY, false.pack()))) is BadSignature
        assert assembler.pin is None
    unsigned = ControlRecord.unpack(pinned(CHAIN[0])[1] or b"", "default")
    assert type(answered(assembler, (CONTROL_KEY, sender.signed_control(unsigned).pack()))) is BadSignature
    later = ControlRecord.unpack(pinned(CHAIN[0], 2, signed[0])[1] or b"", "default")
    assert fed(assembler, [(CONTROL_KEY, sender.signed_control(later).pack()), *messages(CHAIN[0], signed[0])]) == [
        CHAIN[0].digest
    ]


# -- any mixture ------------------------------------------------------------------------------------------------------


def value_of(version: ModelVersion) -> str:
    return hashlib.sha256(b"".join(bytes(chunk) for _, chunk, _ in version.chunks())).hexdigest()


VALUES = {version.digest: value_of(version) for version in (*CHAIN, *SECOND_RUN)}
EVERYTHING = [message for version in CHAIN for message in messages(version)] + [
    message for version in SECOND_RUN for message in messages(version, SECOND)
]
RECORDS = [
    pinned(version, serial, sent)
    for serial, version, sent in (
        (3, CHAIN[1], None),
        (5, CHAIN[4], None),
        (7, SECOND_RUN[1], SECOND),
        (9, CHAIN[2], None),
    )
] + [unpinned(serial) for serial in (2, 4, 6, 8)]


def reads(draw: random.Random) -> list[Message]:
    """What one reader might be given: stretches of the log with records in between, some of it lost or twice."""
    log: list[Message] = []
    for _ in range(draw.randint(1, 6)):
        begin = draw.randrange(len(EVERYTHING))
        stretch = EVERYTHING[begin : begin + draw.randint(1, 60)]
        if draw.randrange(10) < 3:
            del stretch[draw.randrange(len(stretch))]
        if draw.randrange(5) == 0:
            draw.shuffle(stretch)
        log += stretch
        log += draw.sample(RECORDS, draw.randint(0, 2))
    return log


@given(st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_whatever_is_read_nothing_but_the_pinned_version_is_served_and_then_it_goes_forward(
    draw: random.Random,
) -> None:
    assembler = Assembler("default", NumpyServing(), max_bytes=100_000)
    holds: ControlRecord | None = None
    furthest = (0, 0)
    for key, value in reads(draw):
        if key == CONTROL_KEY and value is not None:
            record = ControlRecord.unpack(value, "default")
            holds = record if holds is None or record.control.serial > holds.control.serial else holds
        answer = answered(assembler, (key, value))
        pin = None if holds is None else holds.control.pin
        assert assembler.pin == pin, "the record with the largest serial holds, in whatever order they come"
        assert assembler.held_bytes <= 100_000
        if isinstance(answer, ModelVersion):
            assert value_of(answer) == VALUES[answer.digest]
            served = assembler.served
            assert served is not None
            place = (served.envelope.epoch, served.content.version)
            assert answer.digest == pin.digest if pin is not None else place >= furthest
            furthest = max(furthest, place)
    _pin_and_unpin(assembler, furthest)


def _pin_and_unpin(assembler: Assembler, furthest: tuple[int, int]) -> None:
    """Whatever has happened: a new pin is obeyed, and after it the next whole version is served."""
    is_there = assembler.served is not None and assembler.served.digest == CHAIN[3].digest
    assert fed(assembler, [pinned(CHAIN[3], 100), *messages(CHAIN[3])]) == ([] if is_there else [CHAIN[3].digest])
    newest = max(furthest, (1, 4))
    for version, sent in ((CHAIN[5], envelope()), (SECOND_RUN[2], SECOND)):
        log = [unpinned(101), *messages(version, sent)]
        if (sent.epoch, version.number) >= newest and sent.epoch >= assembler.epoch:
            assert [a.digest for m in log if isinstance(a := answered(assembler, m), ModelVersion)] == [version.digest]


def test_a_manifest_under_the_control_key_and_a_record_under_a_manifests_key_are_refused() -> None:
    assembler = serving(1)
    assert type(answered(assembler, (CONTROL_KEY, messages(CHAIN[1])[-1][1]))) is SchemaMismatch
    assert type(answered(assembler, (manifest_key(2), pinned(CHAIN[1])[1]))) is SchemaMismatch
    assert fed(assembler, messages(CHAIN[1])) == [CHAIN[1].digest]

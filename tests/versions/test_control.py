"""What a control record promises as bytes: damage and forgery are refused, and of two everybody obeys the same one."""

from __future__ import annotations

import itertools
from typing import Any

import msgpack
import pytest
from simulators import MODEL, chain, envelope, flipped, pinned, unpinned

from stream_app.errors import DigestMismatch, SchemaMismatch, StopTheLine, VersionRejected
from stream_app.versions.control import CONTROL_BYTES, Control, ControlRecord, next_serial
from stream_app.versions.messages import Manifest

CHAIN = chain(2)


def record(message: tuple[bytes | None, bytes | None]) -> ControlRecord:
    assert message[1] is not None
    return ControlRecord.unpack(message[1], MODEL)


def packed(fields: dict[str, Any]) -> bytes:
    """A record of these fields, whose checksum a careful forger has made to fit."""
    control_bytes = msgpack.packb(fields)
    nothing = Control(model=MODEL, serial=0, pin=None)
    return ControlRecord(nothing, control_bytes, None).pack()


def fields(**changes: Any) -> dict[str, Any]:
    """The fields of a pin of version 1, `changes` above them; those of the pin begin with `pin_`."""
    plain: dict[str, Any] = msgpack.unpackb(record(pinned(CHAIN[0])).control_bytes)
    plain["pin"] |= {name.removeprefix("pin_"): value for name, value in changes.items() if name.startswith("pin_")}
    return plain | {name: value for name, value in changes.items() if not name.startswith("pin_")}


def test_a_pin_says_all_that_its_version_is() -> None:
    read = record(pinned(CHAIN[0], serial=7, first=3, last=12))
    assert read.control.serial == 7
    assert read.control.pin is not None
    assert read.control.pin.announced().content_bytes == CHAIN[0].content_bytes
    assert (read.control.pin.first, read.control.pin.last) == (3, 12)
    assert record(unpinned(8)).control == Control(model=MODEL, serial=8, pin=None)


def test_a_signature_is_kept_and_no_part_of_what_it_signs() -> None:
    plain = record(pinned(CHAIN[0]))
    signed = plain._replace(signature=b"s" * 64)
    read = ControlRecord.unpack(signed.pack(), MODEL)
    assert read.signature == b"s" * 64
    assert read.signed_digest == plain.signed_digest != record(pinned(CHAIN[1])).signed_digest


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_flipped_bit_and_a_cut_are_refused(part: float) -> None:
    key, value = pinned(CHAIN[0])
    assert value is not None
    place = int(part * len(value))
    for damaged in (flipped((key, value), 8 * place + 3)[1], value[:place], b""):
        with pytest.raises((DigestMismatch, SchemaMismatch)):
            ControlRecord.unpack(damaged or b"", MODEL)


HOSTILE: dict[str, dict[str, Any]] = {
    "another model": {"model": "other"},
    "no model": {"model": ""},
    "a serial below all": {"serial": -1},
    "a serial beyond 64 bits": {"serial": 2**63},
    "a serial that is true": {"serial": True},
    "a field more": {"execute": "rm"},
    "a pin that is text": {"pin": "1"},
    "another number than its manifest": {"pin_version": 2},
    "another digest than its manifest": {"pin_digest": CHAIN[1].digest},
    "the manifest of another version": {"pin_manifest": Manifest.pack(CHAIN[1].content_bytes, envelope())},
    "the manifest of another model": {"pin_manifest": Manifest.pack(CHAIN[0].content_bytes, envelope(model="other"))},
    "no manifest": {"pin_manifest": b""},
    "an offset below all": {"pin_first": -1},
    "a place for code": {"pin_import": "os"},
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_record_that_does_not_add_up_is_refused(attack: str) -> None:
    assert ControlRecord.unpack(packed(fields()), MODEL), "the forger's tools work"
    with pytest.raises(VersionRejected):
        ControlRecord.unpack(packed(fields(**HOSTILE[attack])), MODEL)


@pytest.mark.parametrize("value", [b"\x80", b"noise", msgpack.packb({"control": b"", "checksum": b""})])
def test_what_is_no_control_record_is_refused(value: bytes) -> None:
    with pytest.raises((DigestMismatch, SchemaMismatch)):
        ControlRecord.unpack(value, MODEL)


def test_a_record_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(SchemaMismatch, match=str(CONTROL_BYTES)):
        ControlRecord.unpack(b"\x80" * (CONTROL_BYTES + 1), MODEL)


def test_of_several_records_the_same_one_holds_in_whatever_order_they_come() -> None:
    records = [record(pinned(CHAIN[0], 5)), record(pinned(CHAIN[1], 5)), record(unpinned(5)), record(unpinned(4))]
    winners = set()
    for order in itertools.permutations(records):
        newest = None
        for one in order:
            newest = one if one.outranks(newest) else newest
        assert newest is not None
        winners.add(newest.control_bytes)
    assert len(winners) == 1
    assert not records[0].outranks(records[0]), "a record again is nothing new"


def test_a_new_serial_is_above_the_newest_also_when_the_clock_is_not() -> None:
    assert next_serial(None, now=12.5) == 12_500
    assert next_serial(record(unpinned(20_000)), now=12.5) == 20_001
    with pytest.raises(StopTheLine, match="anew"):
        next_serial(record(unpinned(2**63 - 1)), now=12.5)

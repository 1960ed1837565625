"""Rules 1 to 4 of dead letters: what was refused comes back as it was, and whatever lies on the topic is answered."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.errors import DamagedLetter
from stream_app.events.dead_letter import HEADER_BYTES, KEPT_BYTES, MESSAGE_BYTES, DeadLetter, Origin, decode

ORIGIN = Origin("in", 3, 41)


def letter(value: bytes | None = b"\x00", **more: Any) -> DeadLetter:
    return DeadLetter.of(ORIGIN, 1_700_000_000_000, value, "wrong-type", "user_id", **more)


def repacked(**changed: Any) -> bytes:
    """A letter's message with some of its fields replaced; None leaves a field out."""
    packed = msgpack.unpackb(letter().encode())
    for name, value in changed.items():
        place = packed["origin"] if name in packed["origin"] else packed
        place[name] = value
        if value is None:
            del place[name]
    return msgpack.packb(packed)


headers = st.lists(st.tuples(st.text(max_size=9), st.none() | st.binary(max_size=9)), max_size=5)


@given(st.none() | st.binary(), st.text(max_size=900), headers, st.none() | st.integers(0, 9))
def test_a_letter_comes_back_as_it_was_written(value: bytes | None, text: str, headers: Any, row: int | None) -> None:
    origin = Origin("a.b-c_d", 0, 2**63 - 1, row)
    written = DeadLetter.of(origin, -1, value, "late", "f", headers, text)
    assert decode(written.key, written.encode()) == written
    assert Origin.parse(written.key.decode()) == origin
    assert written.value == value
    assert written.headers == tuple(headers)
    assert not written.cut


@pytest.mark.parametrize("size", [KEPT_BYTES, KEPT_BYTES + 1, 2_000_000])
def test_an_original_above_64_KB_is_cut_and_its_letter_says_size_and_digest_of_the_whole(size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    value = value[:size]
    found = letter(value)
    assert len(found.encode()) < MESSAGE_BYTES
    assert found.value == value[:65_536]
    assert found.size == size
    assert found.sha256 == hashlib.sha256(value).hexdigest()
    assert found.cut == (size > 65_536)
    assert decode(found.key, found.encode()) == found


def test_leading_headers_are_kept_whole_and_the_letter_says_that_there_were_more() -> None:
    found = letter(headers=[("trace", b"1"), ("big", b"x" * HEADER_BYTES), ("small", b"")], record_key=b"user 7")
    assert found.headers == (("trace", b"1"),)
    assert found.record_key == b"user 7"
    assert found.cut
    assert decode(found.key, found.encode()) == found


def test_a_text_that_quotes_what_no_text_can_hold_is_written_all_the_same() -> None:
    found = letter(text="bad byte " + b"\xff".decode(errors="surrogateescape"))
    assert decode(found.key, found.encode()) == found
    assert found.text == "bad byte \\udcff"


def test_a_key_that_is_too_long_is_left_to_its_origin() -> None:
    found = letter(record_key=bytes(HEADER_BYTES))
    assert found.record_key is None
    assert found.cut


def test_a_closed_letter_has_the_same_key_and_still_says_what_it_was_about() -> None:
    closed = letter(b"abc").closed()
    assert (closed.key, closed.reason, closed.size) == (b"in/3/41", "redriven", 3)
    assert closed.value is None
    assert "wrong-type" in closed.text
    assert decode(closed.key, closed.encode()) == closed


@pytest.mark.parametrize(
    "message",
    [
        None,
        b"",
        b"\xc1",
        msgpack.packb([]),
        msgpack.packb({"format": 1}),
        b"\x91" * 2000,
        b"\xdd\xff\xff\xff\xff",
        letter().encode() + b"\x00",
        letter().encode()[:-1],
        repacked(headers=[["large", bytes(MESSAGE_BYTES)]]),
        repacked(format=2),
        repacked(format=None),
        repacked(reason=7),
        repacked(text="x" * 501),
        repacked(partition=-1),
        repacked(offset=2**63),
        repacked(offset=True),
        repacked(topic="../x"),
        repacked(size=2),
        repacked(sha256="0" * 64),
        repacked(key="text"),
        repacked(headers=[["a", 1]]),
        repacked(headers=[["a"]]),
        repacked(value="text"),
        repacked(origin=[]),
        msgpack.packb({**msgpack.unpackb(letter().encode()), "more": 1}),
    ],
)
def test_a_damaged_letter_is_told_as_one(message: bytes | None) -> None:
    with pytest.raises(DamagedLetter):
        decode(str(ORIGIN).encode(), message)


@given(st.binary(max_size=200))
def test_no_bytes_end_in_anything_else(message: bytes) -> None:
    with pytest.raises(DamagedLetter):
        decode(b"in/3/41", message)


@given(st.data())
def test_a_letter_with_a_byte_changed_is_damaged_or_another_letter_of_that_origin(data: st.DataObject) -> None:
    message = bytearray(letter().encode())
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] = data.draw(st.integers(0, 255))
    try:
        found = decode(b"in/3/41", bytes(message))
    except DamagedLetter:
        return
    assert found.origin == ORIGIN


@pytest.mark.parametrize("key", [None, b"", b"in/3/42", b"in/3/41/0", b"\xff"])
def test_a_letter_under_a_key_that_is_not_its_own_is_damaged(key: bytes | None) -> None:
    with pytest.raises(DamagedLetter, match="key"):
        decode(key, letter().encode())


@pytest.mark.parametrize("text", ["", "in", "in/1", "in/1/x", "in/1/2/3/4", "/1/2", "a b/1/2", "in/-1/2", "in/1/2\n"])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="topic/partition/offset"):
        Origin.parse(text)

"""What `asmg versions verify` finds, and what can be taken out: every kind of damage is named, nothing else is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from key_pairs import Pair
from simulators import chain, envelope, flipped, forged, tiny_version, truncated

from stream_app.errors import DigestMismatch, VersionRejected
from stream_app.versions.audit import audited, audited_control
from stream_app.versions.control import Control, ControlRecord, Pin
from stream_app.versions.kept import taken_out
from stream_app.versions.messages import CONTROL_KEY, PROGRESS_KEY, Message
from stream_app.versions.signing import CONTROL, Keys, Signer
from stream_app.versions.stock import stock_of

CHAIN = chain(4)
WHOLE = [list(version.messages(envelope())) for version in CHAIN]


def found(log: list[Message], keys: Keys | None = None) -> dict[int, tuple[str, ...]]:
    """The problems of each version."""
    return {one.version: one.problems for one in audited(stock_of(log), "default", keys)}


def joined(*parts: list[Message]) -> list[Message]:
    return [message for part in parts for message in part]


def test_a_sound_topic_has_nothing_but_sound_versions() -> None:
    log = joined([(PROGRESS_KEY, b"x"), (b"foreign", b"y"), (None, b"z")], *WHOLE)
    assert found(log) == {1: (), 2: (), 3: (), 4: ()}
    first = audited(stock_of(log), "default")[0]
    assert first.manifest is not None
    assert (first.manifest.digest, first.signature) == (CHAIN[0].digest, "unsigned")


def test_a_missing_chunk_is_named() -> None:
    log = joined(WHOLE[0], WHOLE[1][:3] + WHOLE[1][4:], WHOLE[2])
    assert found(log) == {1: (), 2: ("chunk 3 is missing",), 3: ()}
    assert found(joined(WHOLE[0], WHOLE[1][-1:]))[2] == ("chunk 0 is missing, and 10 more of 11",)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "longer"])
def test_a_damaged_chunk_is_named(damage: str) -> None:
    key, value = WHOLE[1][3]
    damaged = {
        "flipped": flipped((key, value), 77),
        "truncated": truncated((key, value), 5),
        "longer": (key, (value or b"") + b"\0"),
    }[damage]
    log = joined(WHOLE[0], WHOLE[1][:3], [damaged], WHOLE[1][4:])
    assert found(log) == {1: (), 2: ("chunk 3 is not the one that it lists",)}


def test_the_last_message_under_a_key_holds_as_after_compaction() -> None:
    log = joined(WHOLE[0], [flipped(WHOLE[0][3], 1)], [WHOLE[0][3]])
    assert found(log) == {1: ()}
    again = list(CHAIN[0].messages(envelope(epoch=2)))
    assert [one.manifest.envelope.epoch for one in audited(stock_of(WHOLE[0] + again), "default") if one.manifest] == [
        2
    ]


def test_what_was_tombstoned_is_not_there() -> None:
    gone: list[Message] = [(key, None) for key, _ in WHOLE[0]]
    assert found(joined(WHOLE[0], WHOLE[1], gone)) == {2: ()}
    assert found(joined(WHOLE[0], gone[2:3])) == {1: ("chunk 2 is missing",)}
    assert found(joined(WHOLE[0], gone[-1:])) == {}, "chunks that no manifest names are no version"


def test_another_parent_is_named_where_the_version_before_is_there() -> None:
    stray = list(tiny_version(3, "ab" * 32).messages(envelope()))
    said = f"names another parent than version 2 ({CHAIN[1].digest[:12]})"
    assert found(joined(WHOLE[0], WHOLE[1], stray)) == {1: (), 2: (), 3: (said,)}
    assert found(joined(WHOLE[0], stray)) == {1: (), 3: ()}


def test_a_replaced_publisher_is_named() -> None:
    log = joined(WHOLE[0], list(CHAIN[1].messages(envelope(epoch=5))), WHOLE[2])
    assert found(log) == {1: (), 3: ("comes from epoch 1, version 2 before it from 5",), 2: ()}


def test_versions_of_two_runs_are_not_each_others_parents() -> None:
    begun_anew = list(tiny_version(2, "cd" * 32, seed=5).messages(envelope(epoch=2, run="second")))
    log = joined(begun_anew, WHOLE[0], WHOLE[2])
    assert list(found(log).items()) == [(1, ()), (3, ()), (2, ())], "in the order in which they were served"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (flipped(WHOLE[1][-1], 4000)[1], "checksum"),
        (b"", "not a msgpack map"),
        (WHOLE[2][-1][1], "its manifest is that of version 3"),
        (forged(CHAIN[1], {"format": 99})[-1][1], "format 99 is unknown"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_why(value: bytes, said: str) -> None:
    log = joined(WHOLE[0], WHOLE[1][:-1], [(WHOLE[1][-1][0], value)])
    first, second = audited(stock_of(log), "default")
    assert (first.version, first.manifest) == (2, None)
    assert said in first.problems[0]
    assert second.problems == ()


def test_a_version_of_another_model_is_named() -> None:
    log = list(CHAIN[0].messages(envelope(model="shop")))
    assert found(log) == {1: ("is of model 'shop', not 'default'",)}


def test_signatures_are_told_and_judged_where_keys_are_given(tmp_path: Path) -> None:
    ours, theirs = Pair(tmp_path, "ours"), Pair(tmp_path, "theirs")
    signed = [
        list(version.messages(Signer(str(pair.private)).signed(version.content_bytes, envelope())))
        for version, pair in zip(CHAIN, (ours, theirs), strict=False)
    ]
    log, keys = joined(*signed, WHOLE[2]), Keys.of([str(ours.public)])
    told = {one.version: (one.signature, one.problems) for one in audited(stock_of(log), "default", keys)}
    assert told[1] == (hashlib.sha256(ours.raw).hexdigest()[:16], ())
    assert told[2] == ("false", ("is signed by none of our keys",))
    assert told[3][0] == "unsigned"
    assert "is not signed" in told[3][1][0]
    unjudged = audited(stock_of(log), "default")
    assert [(one.signature, one.problems) for one in unjudged] == [
        ("signature not checked", ()),
        ("signature not checked", ()),
        ("unsigned", ()),
    ]


def test_nothing_of_the_chunks_is_held() -> None:
    stock = stock_of(WHOLE[0])
    assert all(len(digest) == 64 for _, digest in stock.chunks.values())
    assert sum(size for size, _ in stock.chunks.values()) == CHAIN[0].content.size


# -- taking one out ---------------------------------------------------------------------------------------------------


def test_versions_are_taken_out_whole_whatever_else_is_there() -> None:
    log = joined([(b"foreign", b"y")], *WHOLE)
    kept = taken_out(log, (2, 4, 9))
    assert sorted(kept) == [2, 4]
    for number, one in kept.items():
        assert one.version.content_bytes == CHAIN[number - 1].content_bytes
        for name, array in CHAIN[number - 1].tensors.items():
            assert one.version.tensors[name].tobytes() == array.tobytes()
        assert one.manifest.envelope == envelope()


def test_what_was_tombstoned_or_is_damaged_is_not_taken_out() -> None:
    gone: list[Message] = [(key, None) for key, _ in WHOLE[0]]
    assert taken_out(joined(WHOLE[0], gone), (1,)) == {}
    for log in (WHOLE[0] + gone[2:3], [*WHOLE[0][:2], flipped(WHOLE[0][2], 9), *WHOLE[0][3:]]):
        with pytest.raises(DigestMismatch, match="version 1: chunk 2 is missing or not the one"):
            taken_out(log, (1,))
    with pytest.raises(VersionRejected, match="version 1: "):
        taken_out([(WHOLE[0][-1][0], b"no manifest")], (1,))


# -- the control record -----------------------------------------------------------------------------------------------


def pinning(number: int, log: list[Message], serial: int = 7, signer: Signer | None = None) -> Message:
    """A control record that pins a version whose manifest is the last message of `log`."""
    manifest = log[-1][1] or b""
    pin = Pin(version=number, digest=CHAIN[number - 1].digest, manifest=manifest, first=0, last=len(log))
    record = ControlRecord.of(Control(model="default", serial=serial, pin=pin))
    signature = signer.sign(CONTROL, record.signed_digest) if signer else None
    return CONTROL_KEY, record._replace(signature=signature).pack()


def control(log: list[Message], keys: Keys | None = None) -> tuple[str, tuple[str, ...]]:
    finding = audited_control(stock_of(log), "default", keys)
    assert finding is not None
    return finding.signature, finding.problems


def test_a_pin_is_sound_as_long_as_all_chunks_of_its_version_are_there() -> None:
    record = pinning(1, WHOLE[0])
    assert audited_control(stock_of(WHOLE[0]), "default") is None
    assert control(joined(*WHOLE, [record])) == ("unsigned", ())
    gone: list[Message] = [(key, None) for key, _ in WHOLE[0]]
    assert control(joined(WHOLE[0], [record], gone[-1:])) == ("unsigned", ()), "it carries the manifest itself"
    said = "the version it pins: chunk 2 is missing"
    assert control(joined(WHOLE[0], [record], gone[2:3])) == ("unsigned", (said,))
    unpinned = ControlRecord.of(Control(model="default", serial=9, pin=None))
    assert control([(CONTROL_KEY, unpinned.pack())]) == ("unsigned", ())


def test_a_damaged_control_record_says_why() -> None:
    _, problems = control(joined(WHOLE[0], [flipped(pinning(1, WHOLE[0]), 999)]))
    assert len(problems) == 1


def test_a_control_record_and_what_it_pins_must_both_be_signed(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "ours")
    signer, keys = Signer(str(pair.private)), Keys.of([pair.base64])
    signed = list(CHAIN[0].messages(signer.signed(CHAIN[0].content_bytes, envelope())))
    ours = hashlib.sha256(pair.raw).hexdigest()[:16]
    assert control(joined(signed, [pinning(1, signed, signer=signer)]), keys) == (ours, ())
    said = control(joined(signed, [pinning(1, signed)]), keys)
    assert (said[0], len(said[1])) == ("unsigned", 1)
    said = control(joined(WHOLE[0], [pinning(1, WHOLE[0], signer=signer)]), keys)
    assert (said[0], len(said[1])) == (ours, 1)
    assert said[1][0].startswith("the version it pins: is not signed")


# -- whatever lies there ----------------------------------------------------------------------------------------------

STEPS = st.tuples(
    st.sampled_from(["drop", "flip", "cut", "tombstone", "repeat", "under another key"]),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)


@given(st.lists(STEPS, max_size=6))
@settings(max_examples=100, deadline=None)
def test_what_is_called_sound_is_a_version_that_was_published_and_can_be_taken_out(
    steps: list[tuple[str, int, int]],
) -> None:
    log = [*joined(*WHOLE[:3]), pinning(1, WHOLE[0])]
    for step, place, other in steps:
        place, other = place % len(log), other % len(log)
        key, value = log[place]
        if step == "drop" and len(log) > 1:
            del log[place]
        elif step == "flip" and value:
            log[place] = flipped((key, value), 8 * other + 3)
        elif step == "cut":
            log[place] = truncated((key, value), other % 50)
        elif step in ("tombstone", "repeat"):
            log.append((key, None if step == "tombstone" else value))
        else:
            log[place] = (log[other][0], value)
    stock = stock_of(log)
    audited_control(stock, "default")
    for one in audited(stock, "default"):
        if one.problems:
            continue
        kept = taken_out(log, (one.version,))[one.version]
        assert kept.version.content_bytes == CHAIN[one.version - 1].content_bytes
        for name, array in CHAIN[one.version - 1].tensors.items():
            assert kept.version.tensors[name].tobytes() == array.tobytes()

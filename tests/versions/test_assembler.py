"""What an assembler gives out, and every attack it answers. After each refusal the old version is served."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from typing import Any

import msgpack
import numpy as np
import pytest
from hostile_versions import CATEGORIES, HOSTILE, HOSTILE_BYTES, TEXT, UNFIT, UNFIT_CATEGORIES, UNFIT_TEXT, careful_lies
from hypothesis import given, settings
from hypothesis import strategies as st
from simulators import chain, envelope, flipped, forged, rekeyed, tiny_version, truncated

from stream_app.errors import DigestMismatch, SchemaMismatch, StaleEpoch, VersionGap, VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.versions.assembler import Assembler, assembled
from stream_app.versions.manifest import MAX_CHUNKS, MAX_VERSION, Envelope
from stream_app.versions.messages import Key, Manifest, Message, chunk_key, manifest_key
from stream_app.versions.model_version import ModelVersion, build

CHAIN = chain(4)


def messages(version: ModelVersion, sent: Envelope | None = None) -> list[Message]:
    return list(version.messages(sent or envelope()))


def serving(count: int = 1) -> Assembler:
    """An assembler that serves version `count` of the chain."""
    assembler = Assembler("default", NumpyServing())
    for version in CHAIN[:count]:
        assert fed(assembler, messages(version)) == [version.digest]
    return assembler


def fed(assembler: Assembler, log: list[Message]) -> list[str]:
    """Digests of the versions given out; refusals pass."""
    given_out = []
    for key, value in log:
        try:
            version = assembler.feed(key, value)
        except VersionRejected:
            continue
        if version is not None:
            given_out.append(version.digest)
    return given_out


def refused(assembler: Assembler, log: list[Message]) -> VersionRejected:
    """The only refusal among the answers; nothing is given out, and what was served still is."""
    before = assembler.served
    refusals = []
    for key, value in log:
        try:
            assert assembler.feed(key, value) is None
        except VersionRejected as refusal:
            refusals.append(refusal)
    assert len(refusals) == 1
    assert assembler.served is before
    return refusals[0]


def goes_on(assembler: Assembler) -> None:
    """The next honest version is taken: nothing that was refused has left a trace."""
    assert assembler.served is not None
    following = CHAIN[assembler.served.content.version]
    assert fed(assembler, messages(following, envelope(epoch=max(1, assembler.epoch)))) == [following.digest]


# -- laws -------------------------------------------------------------------------------------------------------------


def test_a_version_comes_out_once_and_whole() -> None:
    version = CHAIN[0]
    *chunks, manifest = messages(version)
    assembler = Assembler("default", NumpyServing())
    assert [assembler.feed(*chunk) for chunk in chunks] == [None] * len(chunks)
    given_out = assembler.feed(*manifest)
    assert given_out is not None
    assert given_out.content_bytes == version.content_bytes
    for name, array in version.tensors.items():
        np.testing.assert_array_equal(given_out.tensors[name], array)


def test_versions_follow_each_other() -> None:
    log = [message for version in CHAIN for message in messages(version)]
    assert [version.number for version in assembled(log, "default", NumpyServing())] == [1, 2, 3, 4]


def test_a_version_may_be_skipped() -> None:
    assembler = serving(1)
    assert fed(assembler, messages(CHAIN[3])) == [CHAIN[3].digest]


@given(st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_messages_of_a_version_may_come_in_any_order_and_repeatedly(shuffle: random.Random) -> None:
    log = messages(CHAIN[0])
    log += shuffle.choices(log, k=5)
    shuffle.shuffle(log)
    assert fed(Assembler("default", NumpyServing()), log) == [CHAIN[0].digest]


def test_a_whole_topic_read_again_gives_nothing_and_refuses_nothing() -> None:
    log = [message for epoch, version in enumerate(CHAIN, 1) for message in messages(version, envelope(epoch))]
    assembler = Assembler("default", NumpyServing())
    assert len(fed(assembler, log)) == 4
    assert [assembler.feed(*message) for message in log] == [None] * len(log)
    assert assembler.held_bytes == 0, "nothing is kept of versions that were served"


def test_a_served_version_that_is_sent_again_is_forgotten_with_its_manifest() -> None:
    assembler = serving(2)
    assert fed(assembler, messages(CHAIN[1])) == []
    assert assembler.held_bytes == 0


def test_a_new_run_may_use_the_served_number_and_share_chunks_with_it() -> None:
    assembler, first = serving(1), tiny_version(1, seed=7)
    assert {entry.digest for entry in first.content.chunks} & {entry.digest for entry in CHAIN[0].content.chunks}
    assert fed(assembler, messages(first, envelope(2, run="second"))) == [first.digest]


def test_tombstones_say_nothing() -> None:
    assembler = serving(1)
    for key, _ in messages(CHAIN[0]):
        assert assembler.feed(key, None) is None
    goes_on(assembler)


def test_a_new_publisher_goes_on_in_a_new_epoch() -> None:
    assembler = serving(1)
    assert fed(assembler, messages(CHAIN[1], envelope(epoch=2))) == [CHAIN[1].digest]
    assert assembler.epoch == 2


def test_a_new_run_begins_its_numbers_anew_in_a_new_epoch() -> None:
    assembler = serving(3)
    first, second = chain(2, seed=7)
    assert fed(assembler, messages(first, envelope(2, run="second"))) == [first.digest]
    assert fed(assembler, messages(second, envelope(2, run="second"))) == [second.digest]


# -- what breaks on the way -------------------------------------------------------------------------------------------


def test_truncated_chunk_is_refused() -> None:
    assembler = serving()
    log = messages(CHAIN[1])
    log[3] = truncated(log[3], 5)
    assert type(refused(assembler, log)) is DigestMismatch
    goes_on(assembler)


def test_a_damaged_chunk_is_refused_when_it_arrives_and_the_right_one_may_follow() -> None:
    assembler = serving()
    log = messages(CHAIN[1])
    assert type(refused(assembler, [flipped(log[2], 77)])) is DigestMismatch
    assert fed(assembler, log) == [CHAIN[1].digest]


def test_truncated_manifest_is_refused_at_every_length() -> None:
    *chunks, manifest = messages(CHAIN[1])
    assert manifest[1] is not None
    assembler = serving()
    assert fed(assembler, chunks) == []
    for length in range(0, len(manifest[1]), 7):
        assert type(refused(assembler, [truncated(manifest, length)])) in (DigestMismatch, SchemaMismatch)
    assert fed(assembler, [manifest]) == [CHAIN[1].digest], "the undamaged one still completes what is held"


@given(st.integers(0, 10**9), st.integers(0, 10**9))
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_anywhere_is_refused(which: int, bit: int) -> None:
    assembler = serving()
    log = messages(CHAIN[1])
    which %= len(log)
    log[which] = flipped(log[which], bit)
    assert type(refused(assembler, log)) in (DigestMismatch, SchemaMismatch)
    goes_on(assembler)


def test_a_wrong_chunk_under_a_key_of_its_own_is_refused() -> None:
    assembler = serving()
    log = messages(CHAIN[1])
    log[2] = rekeyed(flipped(log[2], 9))
    assert type(refused(assembler, log)) is DigestMismatch
    assert fed(assembler, [messages(CHAIN[1])[2]]) == [CHAIN[1].digest], "the right one may still come"


def test_a_wrong_chunk_beside_the_right_one_does_no_harm() -> None:
    log = messages(CHAIN[1])
    assert fed(serving(), [*log[:-1], rekeyed(flipped(log[2], 9)), log[-1]]) == [CHAIN[1].digest]


def test_a_wrong_chunk_in_the_place_of_the_right_one_makes_nothing_whole() -> None:
    assembler = serving()
    *chunks, manifest = messages(CHAIN[1])
    wrong = rekeyed(flipped(chunks[2], 9))
    assert fed(assembler, [manifest, *chunks[:2], wrong, *chunks[3:]]) == []
    assert fed(assembler, [chunks[2]]) == [CHAIN[1].digest]


@pytest.mark.parametrize("which", range(len(messages(CHAIN[1])) - 1))
def test_dropped_chunk_is_a_gap_when_the_next_version_comes(which: int) -> None:
    assembler = serving()
    log = messages(CHAIN[1])
    del log[which]
    refusal = refused(assembler, [*log, messages(CHAIN[2])[0]])
    assert type(refusal) is VersionGap
    assert refusal.version == 2
    assert fed(assembler, messages(CHAIN[2])) == [CHAIN[2].digest]


def test_dropped_manifest_is_forgotten_when_the_next_version_comes() -> None:
    assembler = serving()
    assert fed(assembler, messages(CHAIN[1])[:-1]) == []
    assert fed(assembler, messages(CHAIN[2])) == [CHAIN[2].digest]


def test_chunks_of_an_older_version_do_not_disturb_a_newer_and_are_forgotten_with_it() -> None:
    assembler = serving()
    newer, older = messages(CHAIN[2]), messages(CHAIN[1])
    assert fed(assembler, newer[:2]) == []
    assert [assembler.feed(*chunk) for chunk in older[:-1]] == [None] * (len(older) - 1)
    assert fed(assembler, newer[2:]) == [CHAIN[2].digest]
    assert assembler.held_bytes == 0


def test_two_versions_whose_messages_are_mixed_are_both_served() -> None:
    second, third = messages(CHAIN[1]), messages(CHAIN[2])
    mixed = [message for pair in zip(second, third, strict=True) for message in pair]
    assert fed(serving(), [*mixed[:-1], *third]) == [CHAIN[1].digest, CHAIN[2].digest]


def test_versions_in_the_wrong_order_never_go_back() -> None:
    assembler = serving(1)
    assert fed(assembler, messages(CHAIN[2])) == [CHAIN[2].digest]
    refusal = refused(assembler, messages(CHAIN[1]))
    assert type(refusal) is VersionRejected
    assert refusal.version == 2
    goes_on(assembler)


# -- replaced, forked and foreign publishers --------------------------------------------------------------------------


def test_stale_epoch_is_refused() -> None:
    assembler = serving()
    assert fed(assembler, messages(CHAIN[1], envelope(epoch=5))) == [CHAIN[1].digest]
    assert type(refused(assembler, messages(CHAIN[2], envelope(epoch=4)))) is StaleEpoch
    goes_on(assembler)


def test_the_epoch_of_an_unfinished_version_counts() -> None:
    assembler = serving()
    log = messages(CHAIN[1], envelope(epoch=5))
    assert fed(assembler, [log[-1]]) == []
    assert type(refused(assembler, messages(CHAIN[1], envelope(epoch=4))[-1:])) is StaleEpoch
    assert fed(assembler, log) == [CHAIN[1].digest]


def test_another_content_under_a_served_number_is_refused() -> None:
    assembler = serving(2)
    other = tiny_version(2, CHAIN[0].digest, seed=99)
    assert type(refused(assembler, messages(other, envelope(epoch=3)))) is DigestMismatch
    goes_on(assembler)


def test_another_content_under_an_announced_number_is_refused() -> None:
    assembler = serving(1)
    assert fed(assembler, messages(CHAIN[1])[-1:]) == []
    other = tiny_version(2, CHAIN[0].digest, seed=99)
    assert type(refused(assembler, messages(other)[-1:])) is DigestMismatch
    goes_on(assembler)


def test_a_later_epoch_may_correct_what_was_only_announced() -> None:
    assembler = serving(1)
    assert fed(assembler, messages(CHAIN[1])[-1:]) == []
    other = tiny_version(2, CHAIN[0].digest, seed=99)
    *chunks, manifest = messages(other, envelope(epoch=2))
    assert fed(assembler, [manifest, *chunks]) == [other.digest]


def test_a_fork_is_refused() -> None:
    assembler = serving(2)
    assert type(refused(assembler, messages(tiny_version(3, "ab" * 32)))) is DigestMismatch
    goes_on(assembler)


def test_a_new_run_in_the_same_epoch_is_refused() -> None:
    assembler = serving(2)
    assert type(refused(assembler, messages(chain(1, seed=7)[0], envelope(1, run="second")))) is StaleEpoch
    goes_on(assembler)


def test_a_version_of_another_model_is_refused() -> None:
    assembler = serving()
    assert type(refused(assembler, messages(CHAIN[1], envelope(model="other")))) is SchemaMismatch
    goes_on(assembler)


def test_a_manifest_under_another_version_key_is_refused() -> None:
    assembler = serving()
    assert type(refused(assembler, [(manifest_key(3), messages(CHAIN[1])[-1][1])])) is DigestMismatch
    goes_on(assembler)


# -- hostile bytes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_content_is_refused_before_anything_is_allocated(attack: str) -> None:
    assembler = serving()
    refusal = refused(assembler, forged(CHAIN[1], HOSTILE[attack])[-1:])
    assert type(refusal) in (SchemaMismatch, DigestMismatch)
    goes_on(assembler)


@pytest.mark.parametrize("attack", careful_lies(CHAIN[1]))
def test_lies_that_fit_each_other_are_refused_all_the_same(attack: str) -> None:
    assembler = serving()
    refusal = refused(assembler, forged(CHAIN[1], careful_lies(CHAIN[1])[attack], careful=True))
    assert type(refusal) in (SchemaMismatch, DigestMismatch)
    goes_on(assembler)


@pytest.mark.parametrize("fault", UNFIT_CATEGORIES)
def test_categories_that_do_not_fit_are_refused(fault: str) -> None:
    refused_with(UNFIT_CATEGORIES[fault], tiny_version(2, CHAIN[0].digest, categories=CATEGORIES))


HISTORIES = ((4, 1, 1), (), (2,) * 30)
"""33 rows; the offsets of the three users are 0, 3, 3, 33."""
UNFIT_HISTORIES: dict[str, dict[str, Any]] = {
    "no rows": {"histories.rows": None},
    "no newest": {"histories.newest": None},
    "rows of 64 bits": {"histories.rows": np.full(33, 1)},
    "offsets of 32 bits": {"histories.offsets": np.array([0, 3, 3, 33], np.int32)},
    "newest of 64 bits": {"histories.newest": np.array([0, 0, 0])},
    "offsets of fewer users": {"histories.offsets": np.array([0, 3, 33])},
    "newest of more users": {"histories.newest": np.zeros(4, np.uint8)},
    "all of fewer users": {"histories.offsets": np.array([0, 3, 33]), "histories.newest": np.zeros(2, np.uint8)},
    "offsets go back": {"histories.offsets": np.array([0, 3, 2, 33])},
    "offsets end early": {"histories.offsets": np.array([0, 3, 3, 32])},
    "offsets wrap around": {"histories.offsets": np.array([0, 2**63 - 1, -2, 33])},
    "31 rows of a user": {"histories.offsets": np.array([0, 2, 2, 33])},
    "a row beyond the table": {"histories.rows": np.full(33, 5, np.int32)},
    "the cold row": {"histories.rows": np.full(33, 0, np.int32)},
    "more newest than rows": {"histories.newest": np.array([0, 1, 0], np.uint8)},
}


@pytest.mark.parametrize("fault", UNFIT_HISTORIES)
def test_histories_that_do_not_fit_are_refused(fault: str) -> None:
    refused_with(UNFIT_HISTORIES[fault], tiny_version(2, CHAIN[0].digest, histories=HISTORIES))


@pytest.mark.parametrize("until", [None, "99", 99.0, True, 2**63])
def test_histories_that_do_not_say_how_far_they_go_are_refused(until: Any) -> None:
    fitting = tiny_version(2, CHAIN[0].digest, histories=HISTORIES)
    refused_with({}, fitting, learning=fitting.content.learning | {"histories_until": until})


def refused_with(replaced: dict[str, Any], fitting: ModelVersion, **content: Any) -> None:
    """With these tensors or facts in place of its own; what was served goes on, and the fitting version is taken."""
    assembler = serving()
    fields = {name: getattr(fitting.content, name) for name in ("period", "rows", "learning", "machine")}
    tensors = {name: array for name, array in {**fitting.tensors, **replaced}.items() if array is not None}
    version = build(2, CHAIN[0].digest, metrics={}, decisions={}, tensors=tensors, **{**fields, **content})
    assert type(refused(assembler, messages(version))) is SchemaMismatch
    goes_on(assembler)
    assert fed(serving(), messages(fitting)) == [fitting.digest]


@pytest.mark.parametrize("fault", UNFIT)
def test_whole_and_undamaged_but_unfit_is_refused(fault: str) -> None:
    assembler = serving()
    version = tiny_version(2, CHAIN[0].digest, replaced=UNFIT[fault])
    assert type(refused(assembler, messages(version))) is SchemaMismatch
    goes_on(assembler)


@pytest.mark.parametrize("fault", UNFIT_TEXT)
def test_unfit_string_vocabulary_is_refused(fault: str) -> None:
    assembler = serving()
    column = {f"vocabulary.users.{name}": array for name, array in {**TEXT, **UNFIT_TEXT[fault]}.items()}
    version = tiny_version(2, CHAIN[0].digest, users=("x", "y", "z"), replaced=column)
    assert type(refused(assembler, messages(version))) is SchemaMismatch
    goes_on(assembler)


@pytest.mark.parametrize(
    "key",
    [
        *(None, b"", b"manifest", b"progress", b"000000000002/manifest\n", b"000000000002/0/00"),
        *(b"000000000002/000001/ABCDEF0123456789", b"2/manifest", "٠٠٠٠٠٠٠٠٠٠٠٢/manifest".encode(), b"\xff" * 1000),
    ],
)
def test_foreign_keys_are_refused(key: bytes | None) -> None:
    assembler = serving()
    assert type(refused(assembler, [(key, b"x")])) is SchemaMismatch
    goes_on(assembler)


@pytest.mark.parametrize("attack", HOSTILE_BYTES)
def test_hostile_manifest_bytes_are_refused(attack: str) -> None:
    assembler = serving()
    refusal = refused(assembler, [(manifest_key(2), HOSTILE_BYTES[attack])])
    assert type(refusal) in (SchemaMismatch, DigestMismatch)
    assert refusal.version == 2
    goes_on(assembler)


def test_a_few_bytes_cannot_claim_gigabytes() -> None:
    nested = b"\x81\xa7content" + b"\xdd\x00\x0d\x00\x00" * 190_000
    tracemalloc.start()
    refused(serving(), [(manifest_key(2), nested)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_as_manifest_are_refused(value: bytes) -> None:
    refused(serving(), [(manifest_key(2), value)])


@pytest.mark.parametrize(
    "fields",
    [
        *({"epoch": -1}, {"epoch": "5"}, {"epoch": 2**63}, {"model": ""}, {"more": 1}, {"late": None}),
        *({"source_offsets": {"x": 1}}, {"source_offsets": [1]}, {"times": {"closed": float("nan")}}),
    ],
)
def test_hostile_envelopes_are_refused(fields: dict[str, Any]) -> None:
    class Lie:
        @staticmethod
        def pack() -> bytes:
            return bytes(msgpack.packb({**msgpack.unpackb(envelope().pack()), **fields}))

    assembler = serving()
    value = Manifest.pack(CHAIN[1].content_bytes, Lie())  # type: ignore[arg-type]
    assert type(refused(assembler, [(manifest_key(2), value)])) is SchemaMismatch
    goes_on(assembler)


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_a_version_larger_than_allowed_is_refused_by_its_manifest() -> None:
    size = CHAIN[0].content.size
    assert fed(Assembler("default", NumpyServing(), max_bytes=size), messages(CHAIN[0])) == [CHAIN[0].digest]
    small = Assembler("default", NumpyServing(), max_bytes=size - 1)
    assert type(refused(small, messages(CHAIN[0])[-1:])) is SchemaMismatch


def test_chunks_without_a_manifest_are_held_up_to_the_bound_only_and_keep_no_version_out() -> None:
    small = Assembler("default", NumpyServing(), max_bytes=10_000)
    noise = [bytes([n]) * 4_000 for n in range(5)]
    log = [rekeyed((chunk_key(1, n, "0" * 64), value)) for n, value in enumerate(noise)]
    assert fed(small, log[:2]) == []
    for message in log[2:]:
        assert type(refused(small, [message])) is SchemaMismatch
        assert small.held_bytes <= 10_000
    assert type(refused(small, [rekeyed((chunk_key(1, 9, "0" * 64), b"x" * 10_001))])) is SchemaMismatch
    assert small.held_bytes <= 10_000
    assert fed(small, messages(CHAIN[0])) == [CHAIN[0].digest]


def test_a_chunk_that_a_forgery_has_brought_before_is_not_lost_when_there_is_no_room() -> None:
    small = Assembler("default", NumpyServing(), max_bytes=10_000)
    log = messages(CHAIN[0])
    flood = [rekeyed((chunk_key(1, n, "0" * 64), bytes([n]) * 1_000)) for n in range(9)]
    assert fed(small, [log[0], *flood]) == []
    assert fed(small, log) == [CHAIN[0].digest]


def test_a_number_of_tiny_chunks_keeps_no_version_out() -> None:
    assembler = Assembler("default", NumpyServing())
    tiny = [rekeyed((chunk_key(1, n, "0" * 64), b"x")) for n in range(MAX_CHUNKS + 1)]
    assert fed(assembler, tiny) == []
    assert assembler.held_bytes <= MAX_CHUNKS
    assert fed(assembler, messages(CHAIN[0])) == [CHAIN[0].digest]


def test_what_is_left_of_a_run_does_not_keep_out_the_next_runs_version_of_the_same_number() -> None:
    assembler = Assembler("default", NumpyServing())
    assert fed(assembler, messages(CHAIN[0])[:3] + messages(CHAIN[0])[4:]) == []
    (anew,) = chain(1, seed=7)
    assert fed(assembler, messages(anew, envelope(2, run="second"))) == [anew.digest]


@pytest.mark.parametrize("size", [0, 900_001])
def test_a_chunk_of_impossible_size_is_refused(size: int) -> None:
    assembler = serving()
    log = [rekeyed((chunk_key(2, 0, "0" * 64), b"x" * size))]
    assert type(refused(assembler, log)) is SchemaMismatch
    goes_on(assembler)


def test_of_four_versions_something_is_held_and_all_of_it_within_the_bound() -> None:
    small = Assembler("default", NumpyServing(), max_bytes=10_000)
    for number in range(40, 0, -1):
        assert fed(small, [rekeyed((chunk_key(number, 0, "0" * 64), bytes([number]) * 1_500))]) == []
        assert small.held_bytes == 1_500 * min(4, 41 - number)
    assert fed(small, [rekeyed((chunk_key(41, 0, "0" * 64), b"x" * 9_000))]) == []
    assert small.held_bytes == 9_000, "what was touched longest ago has given way"
    assert fed(small, messages(CHAIN[0])) == [CHAIN[0].digest]
    assert small.held_bytes == 0


@pytest.mark.parametrize("place", range(len(messages(CHAIN[1]))))
def test_a_chunk_of_a_far_version_costs_nothing_wherever_it_comes(place: int) -> None:
    assembler = serving()
    far = rekeyed((chunk_key(MAX_VERSION, 0, "0" * 64), b"x"))
    log = messages(CHAIN[1])
    assert fed(assembler, [*log[:place], far, *log[place:]]) == [CHAIN[1].digest]
    assert fed(assembler, messages(CHAIN[2])) == [CHAIN[2].digest]


def test_a_far_version_that_is_announced_and_never_comes_keeps_nothing_out() -> None:
    assembler = serving()
    far = messages(tiny_version(MAX_VERSION, "ab" * 32))[-1]
    assert fed(assembler, [far, *messages(CHAIN[1])]) == [CHAIN[1].digest]
    assert fed(assembler, messages(CHAIN[2])) == [CHAIN[2].digest]


def test_what_an_older_epoch_has_announced_is_stale_when_it_is_whole_at_last() -> None:
    assembler = serving()
    last, *older = reversed(messages(CHAIN[2], envelope(epoch=1)))
    assert fed(assembler, [last, *older[1:]]) == []
    assert fed(assembler, messages(CHAIN[1], envelope(epoch=2))[-1:]) == []
    assert type(refused(assembler, older[:1])) is StaleEpoch
    assert fed(assembler, messages(CHAIN[1], envelope(epoch=2))) == [CHAIN[1].digest]


# -- any mixture ------------------------------------------------------------------------------------------------------

LIES = ("drop", "repeat", "swap", "truncate", "flip", "rekey", "stale", "other")


def told(log: list[Message], lies: list[tuple[str, int]]) -> list[Message]:
    """The log after a publisher has lied at the given places."""
    log = list(log)
    for lie, place in lies:
        at = place % len(log)
        message = log[at]
        if lie == "drop" and len(log) > 1:
            del log[at]
        elif lie == "repeat":
            log.insert(place // 7 % len(log), message)
        elif lie == "swap":
            other = place // 7 % len(log)
            log[at], log[other] = log[other], log[at]
        elif lie == "truncate":
            log[at] = truncated(message, place // 7 % max(1, len(message[1] or b"")))
        elif lie == "flip" and message[1]:
            log[at] = flipped(message, place // 7)
        elif lie == "rekey" and message[1] and Key.parse(message[0]).chunk is not None:
            log[at] = rekeyed(flipped(message, place // 7))
        elif lie == "stale":
            log[at:at] = messages(CHAIN[place % 4], envelope(epoch=0))
        elif lie == "other":
            log[at:at] = messages(tiny_version(place % 4 + 1, "cd" * 32, seed=place % 97))
    return log


@given(st.lists(st.tuples(st.sampled_from(LIES), st.integers(0, 10**6)), max_size=6))
@settings(max_examples=100, deadline=None)
def test_whatever_a_publisher_says_only_whole_versions_come_out_and_never_backwards(
    lies: list[tuple[str, int]],
) -> None:
    log = [message for version in CHAIN for message in messages(version)]
    assembler = Assembler("default", NumpyServing(), max_bytes=100_000)
    others = [tiny_version(place % 4 + 1, "cd" * 32, seed=place % 97) for lie, place in lies if lie == "other"]
    built = {
        version.digest: hashlib.sha256(b"".join(bytes(chunk) for _, chunk, _ in version.chunks())).hexdigest()
        for version in (*CHAIN, *others)
    }
    numbers = []
    for key, value in told(log, lies):
        try:
            version = assembler.feed(key, value)
        except VersionRejected:
            continue
        if version is not None:
            numbers.append(version.number)
            data = b"".join(bytes(chunk) for _, chunk, _ in version.chunks())
            assert hashlib.sha256(data).hexdigest() == built[version.digest], "every byte is one that was published"
    assert numbers == sorted(set(numbers))
    if not lies:
        assert numbers == [1, 2, 3, 4]

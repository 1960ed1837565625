"""Writes the attacks of `corpus/` that are not there yet: designed ones, and those that the machine has found.

    PYTHONPATH=.:tests python tests/versions/lies/make_corpus.py

A case is a file for ever: whatever the program becomes, it answers these bytes as the file says. Each is a msgpack map
{why, keys, max_bytes, log: [[key, value], ...], served: [digest, ...], refused: [name of the error, ...]}: what comes
on the topic, which versions are given out, and which refusals are told, in their order. To add one, add a function
here and run it; `served` and `refused` are what its author expects, and are never computed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hostile_versions import HOSTILE, HOSTILE_BYTES, careful_lies
from killed import version_of
from machine import chunk_of
from simulators import envelope, flipped, forged, pinned, rekeyed, tiny_version, truncated, unpinned

from stream_app.versions.control import Control, ControlRecord
from stream_app.versions.manifest import MAX_VERSION, Envelope
from stream_app.versions.messages import CONTROL_KEY, Manifest, Message, checksum, manifest_key
from stream_app.versions.model_version import ModelVersion

CORPUS = Path(__file__).with_name("corpus")
ONE, TWO, THREE = (version_of(number) for number in (1, 2, 3))
KEY, OTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([nth]) * 32) for nth in (1, 2))


class Case(NamedTuple):
    """What comes, which versions are given out for it, and which refusals are told."""

    log: list[Message]
    served: list[ModelVersion]
    refused: list[str]
    max_bytes: int = 1 << 20
    signed: bool = False


CASES: dict[str, tuple[str, Callable[[], Case]]] = {}


def case(why: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Names the case as the function."""

    def named(made: Callable[[], Case]) -> Callable[[], Case]:
        CASES[made.__name__.replace("_", "-")] = why, made
        return made

    return named


def sent(version: ModelVersion, epoch: int = 1, run: str = "first", **changes: Any) -> list[Message]:
    return list(version.messages(envelope(epoch, run).model_copy(update=changes)))


def signature(version: ModelVersion, sending: Envelope, key: Ed25519PrivateKey = KEY) -> bytes:
    """As docs/model-version.md says, without the code under test but for the checksum."""
    return key.sign(b"asmg-version-1\0" + checksum(version.content_bytes, sending.pack()))


def signed(version: ModelVersion, epoch: int = 1, key: Ed25519PrivateKey = KEY) -> list[Message]:
    return sent(version, epoch, signature=signature(version, envelope(epoch), key))


# -- on the way -------------------------------------------------------------------------------------------------------


@case("A chunk is lost; the next version is whole.")
def chunk_lost() -> Case:
    log = sent(TWO)
    return Case([*sent(ONE), *log[:3], *log[4:], *sent(THREE)], [ONE, THREE], ["VersionGap"])


@case("Half of a version, then the next one: nothing had announced the half.")
def manifest_lost() -> Case:
    return Case([*sent(ONE), *sent(TWO)[:5], *sent(THREE)], [ONE, THREE], [])


@case("Everything comes twice and backwards.")
def repeated_and_backwards() -> Case:
    log = sent(TWO)
    return Case([*sent(ONE), *log[::-1], *log, *log[::-1]], [ONE, TWO], [])


@case("A chunk is cut; the right one follows.")
def chunk_truncated() -> Case:
    log = sent(TWO)
    return Case([*sent(ONE), truncated(log[2], 7), *log], [ONE, TWO], ["DigestMismatch"])


@case("A bit of a chunk is turned; the right one never comes.")
def chunk_flipped() -> Case:
    log = sent(TWO)
    log[2] = flipped(log[2], 99)
    return Case([*sent(ONE), *log, *sent(THREE)], [ONE, THREE], ["DigestMismatch", "VersionGap"])


@case("A bit of a chunk is turned and its key made to fit: only the manifest can tell.")
def chunk_flipped_under_its_own_key() -> Case:
    log = sent(TWO)
    log[2] = rekeyed(flipped(log[2], 99))
    return Case([*sent(ONE), *log, *sent(THREE)], [ONE, THREE], ["DigestMismatch", "VersionGap"])


@case("A bit of the manifest is turned; the right one follows.")
def manifest_flipped() -> Case:
    *chunks, manifest = sent(TWO)
    return Case([*sent(ONE), *chunks, flipped(manifest, 4321), manifest], [ONE, TWO], ["DigestMismatch"])


@case("Tombstones for what is served, and for what is half there.")
def tombstones() -> Case:
    log = sent(TWO)
    buried: list[Message] = [(key, None) for key, _ in (*sent(ONE), *log[:4])]
    return Case([*sent(ONE), *log[:4], *buried, *log[4:]], [ONE, TWO], [])


# -- publishers that were replaced ------------------------------------------------------------------------------------


@case("What an earlier epoch published is sent again, and is a repeat.")
def old_version_again() -> Case:
    return Case([*sent(ONE), *sent(TWO, 2), *sent(ONE), *sent(THREE, 2)], [ONE, TWO, THREE], [])


@case("A publisher that was replaced goes on in its old epoch.")
def old_epoch_goes_on() -> Case:
    return Case([*sent(ONE), *sent(TWO, 2), *sent(THREE), *sent(THREE, 2)], [ONE, TWO, THREE], ["StaleEpoch"])


@case("What an earlier epoch had announced becomes whole only after a later epoch has spoken.")
def old_announcement_becomes_whole() -> Case:
    last, *rest = sent(THREE)[::-1]
    newer = sent(TWO, 2)
    return Case([*sent(ONE), last, *rest[1:], newer[-1], rest[0], *newer], [ONE, TWO], ["StaleEpoch"])


@case("A fork: the next number, another parent.")
def fork() -> Case:
    other = tiny_version(2, "ab" * 32)
    return Case([*sent(ONE), *sent(other), *sent(TWO)], [ONE, TWO], ["DigestMismatch"])


@case("Another content under the number that is served.")
def other_content() -> Case:
    other = tiny_version(2, ONE.digest, seed=9)
    return Case([*sent(ONE), *sent(TWO), *sent(other), *sent(THREE)], [ONE, TWO, THREE], ["DigestMismatch"])


@case("A new run begins in the epoch of the run before.")
def run_without_an_epoch() -> Case:
    other = tiny_version(1, seed=9)
    return Case([*sent(ONE), *sent(other, run="second"), *sent(TWO)], [ONE, TWO], ["StaleEpoch"])


@case("Found: what a run left half announced kept out the next run's version of that number.")
def leftover_of_another_run() -> Case:
    anew, log = tiny_version(1, seed=9, users=(1, 2), items=(6,)), sent(ONE)
    return Case([*log[:3], *log[4:], *sent(anew, 2, "second")], [anew], ["DigestMismatch"] * (len(sent(anew)) - 1))


# -- hostile bytes ----------------------------------------------------------------------------------------------------


def hostile(name: str) -> Case:
    return Case([*sent(ONE), *forged(TWO, HOSTILE[name]), *sent(TWO)], [ONE, TWO], ["SchemaMismatch"])


@case("Two tensors have one name.")
def duplicate_names() -> Case:
    return hostile("duplicate name")


@case("A tensor of 2^62 by 2^62.")
def overflowing_shape() -> Case:
    return hostile("overflowing dimensions")


@case("The manifest lists a chunk twice.")
def overlapping_chunks() -> Case:
    return hostile("overlapping chunks")


@case("10^12 rows, and every digest fits.")
def billions_of_rows() -> Case:
    plain = tiny_version(2, ONE.digest)
    log = forged(plain, careful_lies(plain)["10^12 rows"], careful=True)
    return Case([*sent(ONE), *log, *sent(TWO)], [ONE, TWO], ["SchemaMismatch"])


@case("Chunks that are shorter than the manifest says, and every digest fits.")
def longer_than_it_is() -> Case:
    plain = tiny_version(2, ONE.digest)
    log = forged(plain, careful_lies(plain)["chunks longer than they are"], careful=True)
    return Case([*sent(ONE), *log, *sent(TWO)], [ONE, TWO], ["DigestMismatch"])


@case("msgpack nested without end.")
def nested_without_end() -> Case:
    value = HOSTILE_BYTES["nested without end"][:50_000]
    return Case([*sent(ONE), (manifest_key(2), value), *sent(TWO)], [ONE, TWO], ["DigestMismatch"])


@case("A few bytes claim an array of four billion.")
def gigantic_array() -> Case:
    value = HOSTILE_BYTES["claims a gigantic array"]
    return Case([*sent(ONE), (manifest_key(2), value), *sent(TWO)], [ONE, TWO], ["DigestMismatch"])


@case("A format that no release has written.")
def format_of_the_future() -> Case:
    return Case([*sent(ONE), *forged(TWO, {"format": 1_000_000}), *sent(TWO)], [ONE, TWO], ["SchemaMismatch"])


@case("Whole, undamaged, and one number of it is none.")
def not_a_number() -> Case:
    replaced = {"parameters.b1": np.full(12, np.nan, np.float32)}
    return Case(
        [*sent(ONE), *sent(tiny_version(2, ONE.digest, replaced=replaced)), *sent(TWO)], [ONE, TWO], ["SchemaMismatch"]
    )


@case("The schema changes: a table is in double precision.")
def other_schema() -> Case:
    replaced = {"parameters.user": np.zeros((4, 8))}
    return Case(
        [*sent(ONE), *sent(tiny_version(2, ONE.digest, replaced=replaced)), *sent(TWO)], [ONE, TWO], ["SchemaMismatch"]
    )


@case("A base model that is code to import.")
def code_to_import() -> Case:
    learning = {"settings_digest": "0" * 64, "method": "iu", "base_model": "os:system"}
    return Case(
        [*sent(ONE), *sent(tiny_version(2, ONE.digest, learning=learning)), *sent(TWO)], [ONE, TWO], ["SchemaMismatch"]
    )


@case("Another model's version.")
def other_model() -> Case:
    return Case([*sent(ONE), *sent(TWO, model="other"), *sent(TWO)], [ONE, TWO], ["SchemaMismatch"])


@case("A manifest under the key of another version.")
def other_key() -> Case:
    log = [*sent(ONE), (manifest_key(3), sent(TWO)[-1][1]), *sent(TWO)]
    return Case(log, [ONE, TWO], ["DigestMismatch"])


# -- bounds -----------------------------------------------------------------------------------------------------------


@case("Found: one chunk of the last number that there can be kept out whatever came after it.")
def chunk_of_the_last_number() -> Case:
    return Case([*sent(ONE), chunk_of(MAX_VERSION, 0, b"x"), *sent(TWO), *sent(THREE)], [ONE, TWO, THREE], [])


@case("Found: a manifest of the last number, whose chunks never come, kept out whatever came after it.")
def manifest_of_the_last_number() -> Case:
    far = sent(tiny_version(MAX_VERSION, "ab" * 32))[-1]
    return Case([*sent(ONE), far, *sent(TWO), *sent(THREE)], [ONE, TWO, THREE], [])


@case("Found: chunks of nothing under the next number, up to the bound, kept the next version out.")
def flood_under_the_next_number() -> Case:
    flood = [chunk_of(2, index, bytes([index]) * 1000) for index in range(10)]
    return Case([*sent(ONE), *flood, *sent(TWO)], [ONE, TWO], ["SchemaMismatch"] * 2, max_bytes=8_000)


@case("Found: a chunk of the next version that had come before was the first to give way when there was no room.")
def flood_behind_a_chunk_of_the_next_version() -> Case:
    flood = [chunk_of(2, index, bytes([index]) * 1000) for index in range(9)]
    log = sent(TWO)
    size = sum(len(value or b"") for _, value in log[:-1])
    return Case([*sent(ONE), log[0], *flood, *log], [ONE, TWO], ["SchemaMismatch"], max_bytes=8_999 + size)


# -- what operators and keys are for ----------------------------------------------------------------------------------


@case("An old pin is sent again after it was lifted.")
def old_pin_again() -> Case:
    pin = pinned(ONE, 1)
    log = [*sent(ONE), *sent(TWO), pin, *sent(ONE), unpinned(2), pin, *sent(TWO), *sent(THREE)]
    return Case(log, [ONE, TWO, ONE, TWO, THREE], [])


@case("A pin whose bytes were turned, cut, or are of another model, and one that was buried.")
def damaged_pins() -> Case:
    pin = pinned(ONE, 1)
    other = ControlRecord.of(Control(model="other", serial=9, pin=None)).pack()
    damaged: list[Message] = [flipped(pin, 800), truncated(pin, 100), (CONTROL_KEY, other), (CONTROL_KEY, None)]
    return Case([*sent(ONE), *damaged, *sent(TWO)], [ONE, TWO], ["DigestMismatch", "DigestMismatch", "SchemaMismatch"])


@case("Unsigned among signed: newer, in a later epoch, and no epoch counts that nobody has signed.")
def unsigned_among_signed() -> Case:
    return Case([*signed(ONE), *sent(TWO, 2**62), *signed(TWO)], [ONE, TWO], ["BadSignature"], signed=True)


@case("Signed with another key.")
def signed_by_another() -> Case:
    log = [*signed(ONE), *signed(TWO, 5, OTHER_KEY), *signed(TWO)]
    return Case(log, [ONE, TWO], ["BadSignature"], signed=True)


@case("The signature of another version, and of the same content in another envelope.")
def stolen_signatures() -> Case:
    stolen, before = signature(ONE, envelope()), signature(TWO, envelope())
    log = [*signed(ONE), *sent(TWO, signature=stolen), *sent(TWO, 7, signature=before), *signed(TWO)]
    return Case(log, [ONE, TWO], ["BadSignature", "BadSignature"], signed=True)


@case("A pin that nobody has signed, where keys are asked for.")
def unsigned_pin() -> Case:
    there = Manifest.unpack(signed(ONE)[-1][1] or b"").envelope
    log = [*signed(ONE), *signed(TWO), pinned(ONE, 1, there), *signed(THREE)]
    return Case(log, [ONE, TWO, THREE], ["BadSignature"], signed=True)


def main() -> None:
    """Never changes a file that is there."""
    CORPUS.mkdir(exist_ok=True)
    for name, (why, made) in CASES.items():
        path = CORPUS / f"{name}.msgpack"
        if not path.exists():
            one = made()
            public = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            path.write_bytes(
                msgpack.packb(
                    {
                        "why": why,
                        "keys": [public] if one.signed else [],
                        "max_bytes": one.max_bytes,
                        "log": one.log,
                        "served": [version.digest for version in one.served],
                        "refused": one.refused,
                    }
                )
            )


if __name__ == "__main__":
    main()

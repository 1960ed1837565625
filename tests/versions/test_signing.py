"""Signatures: with a list of keys nothing that they did not sign is served, and no message holds a key."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import traceback
from pathlib import Path

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from key_pairs import Pair
from simulators import chain, envelope

from stream_app.errors import BadSignature, SettingsError, VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.versions.assembler import Assembler
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Manifest, Message, manifest_key
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.signing import CONTROL, VERSION, Keys, Signer

CHAIN = chain(3)


@pytest.fixture
def ours(tmp_path: Path) -> Pair:
    return Pair(tmp_path, "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Pair:
    return Pair(tmp_path, "theirs")


def sent(version: ModelVersion, pair: Pair | None = None, epoch: int = 1) -> list[Message]:
    """The messages of a version, signed with the key of `pair`."""
    plain = envelope(epoch)
    return list(version.messages(Signer(str(pair.private)).signed(version.content_bytes, plain) if pair else plain))


def resealed(message: Message, **changes: object) -> Message:
    """The manifest with other fields in its envelope, its checksum made to fit, its signature as it was."""
    key, value = message
    assert value is not None
    manifest = Manifest.unpack(value)
    return key, Manifest.pack(manifest.content_bytes, manifest.envelope.model_copy(update=changes))


def assembler(*pairs: Pair) -> Assembler:
    return Assembler("default", NumpyServing(), keys=Keys.of([str(pair.public) for pair in pairs]))


def answers(assembler: Assembler, log: list[Message]) -> tuple[list[int], list[VersionRejected]]:
    """Numbers of the versions given out, and the refusals."""
    served, refusals = [], []
    for key, value in log:
        try:
            version = assembler.feed(key, value)
        except VersionRejected as refusal:
            refusals.append(refusal)
        else:
            served += [version.number] if version else []
    return served, refusals


# -- what is signed ---------------------------------------------------------------------------------------------------


def test_the_signature_is_what_the_format_says_by_msgpack_and_sha256_alone(ours: Pair) -> None:
    *_, (_, value) = sent(CHAIN[0], ours, epoch=7)
    manifest = msgpack.unpackb(value)
    said = msgpack.unpackb(manifest["envelope"])
    signature, said["signature"] = said["signature"], None
    both = hashlib.sha256(manifest["content"]).digest() + hashlib.sha256(msgpack.packb(said)).digest()
    ours.key.public_key().verify(signature, b"asmg-version-1\0" + hashlib.sha256(both).digest())
    assert said["epoch"] == 7
    assert len(signature) == 64


def test_signing_changes_neither_the_digest_nor_the_content(ours: Pair) -> None:
    manifest = Manifest.unpack(sent(CHAIN[0], ours)[-1][1] or b"")
    assert manifest.content_bytes == CHAIN[0].content_bytes
    assert manifest.envelope.model_copy(update={"signature": None}) == envelope()


def test_a_check_says_which_key_has_signed(ours: Pair, theirs: Pair) -> None:
    keys = Keys.of([theirs.base64, ours.base64])
    assert keys is not None
    manifest = Manifest.unpack(sent(CHAIN[0], ours)[-1][1] or b"")
    assert keys.check(manifest) == hashlib.sha256(ours.raw).hexdigest()[:16]


# -- attacks ----------------------------------------------------------------------------------------------------------


def test_what_our_key_has_signed_is_served(ours: Pair, theirs: Pair) -> None:
    log = [message for version in CHAIN for message in sent(version, ours)]
    assert answers(assembler(theirs, ours), log) == ([1, 2, 3], [])


def test_without_keys_signatures_are_not_looked_at(ours: Pair) -> None:
    log = [*sent(CHAIN[0]), *sent(CHAIN[1], ours), resealed(sent(CHAIN[1], ours)[-1], late=99)]
    assert answers(Assembler("default", NumpyServing()), log) == ([1, 2], [])


@pytest.mark.parametrize("attack", ["unsigned", "other key", "cut", "empty", "of another version", "for a control"])
def test_a_version_that_our_key_did_not_sign_is_refused_and_the_next_one_served(
    ours: Pair, theirs: Pair, attack: str
) -> None:
    *chunks, manifest = sent(CHAIN[1], ours)
    signature = Manifest.unpack(manifest[1] or b"").envelope.signature or b""
    plain = Manifest.unpack(sent(CHAIN[1])[-1][1] or b"")
    sealed = hashlib.sha256(plain.envelope.pack()).digest()
    digest = hashlib.sha256(hashlib.sha256(plain.content_bytes).digest() + sealed).digest()
    forged = {
        "unsigned": None,
        "other key": Manifest.unpack(sent(CHAIN[1], theirs)[-1][1] or b"").envelope.signature,
        "cut": signature[:63],
        "empty": b"",
        "of another version": Manifest.unpack(sent(CHAIN[2], ours)[-1][1] or b"").envelope.signature,
        "for a control": ours.key.sign(CONTROL + digest),
    }[attack]
    subscriber = assembler(ours)
    assert answers(subscriber, sent(CHAIN[0], ours)) == ([1], [])
    served, refusals = answers(subscriber, [*chunks, resealed(manifest, signature=forged)])
    assert served == []
    assert [type(refusal) for refusal in refusals] == [BadSignature]
    assert subscriber.served is not None
    assert subscriber.served.content.version == 1
    assert answers(subscriber, [manifest]) == ([2], []), "the chunks are still held for the true manifest"


@pytest.mark.parametrize(
    "changes", [{"epoch": 9}, {"run": "mine"}, {"late": 2}, {"times": {"sent": "x"}}, {"model": "m"}]
)
def test_nothing_in_the_envelope_can_be_changed(ours: Pair, changes: dict[str, object]) -> None:
    *chunks, manifest = sent(CHAIN[0], ours)
    served, refusals = answers(assembler(ours), [*chunks, resealed(manifest, **changes)])
    assert (served, [type(refusal) for refusal in refusals]) == ([], [BadSignature])


def test_the_content_cannot_be_changed(ours: Pair) -> None:
    envelope_of_first = Manifest.unpack(sent(CHAIN[0], ours)[-1][1] or b"").envelope
    swapped = (manifest_key(2), Manifest.pack(CHAIN[1].content_bytes, envelope_of_first))
    served, refusals = answers(assembler(ours), [*sent(CHAIN[1], ours)[:-1], swapped])
    assert (served, [type(refusal) for refusal in refusals]) == ([], [BadSignature])


def test_an_unsigned_manifest_of_a_huge_epoch_does_not_make_the_true_publisher_stale(ours: Pair) -> None:
    subscriber = assembler(ours)
    assert answers(subscriber, sent(CHAIN[0], ours)) == ([1], [])
    served, refusals = answers(subscriber, sent(CHAIN[2], epoch=2**62)[-1:])
    assert (served, [type(refusal) for refusal in refusals]) == ([], [BadSignature])
    assert subscriber.epoch == 1
    assert answers(subscriber, sent(CHAIN[1], ours)) == ([2], [])


def test_a_signature_is_worth_nothing_for_another_purpose(ours: Pair) -> None:
    keys, digest = Keys.of([ours.base64]), hashlib.sha256(b"record").digest()
    assert keys is not None
    signature = Signer(str(ours.private)).sign(CONTROL, digest)
    ours.key.public_key().verify(signature, b"asmg-control-1\0" + digest)
    assert keys.signer_of(CONTROL, digest, signature) is not None
    assert keys.signer_of(VERSION, digest, signature) is None


# -- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_changed_without_a_moment_in_which_nothing_is_taken(ours: Pair, theirs: Pair) -> None:
    signer, subscriber = Signer(str(ours.private)), assembler(ours, theirs)
    taken = []
    for version in CHAIN:
        log = list(version.messages(signer.signed(version.content_bytes, envelope())))
        taken += answers(subscriber, log)[0]
        ours.private.write_bytes(theirs.private.read_bytes())  # from the second on: a file put in the old one's place
    assert taken == [1, 2, 3]
    assert answers(assembler(theirs), sent(CHAIN[1], ours)) == ([2], []), "signed with the new key already"


def test_keys_are_read_from_files_and_from_base64_alike(ours: Pair) -> None:
    assert Keys.of([str(ours.public)]) == Keys.of([ours.base64]) == Keys((ours.raw,))
    assert Keys.of([]) is None


def test_a_key_with_a_character_too_many_is_none(ours: Pair) -> None:
    with pytest.raises(SettingsError, match=r"subscriber\.keys: number 1 is no file that can be read, nor a key"):
        Keys.of([ours.base64[:20] + "!" + ours.base64[20:]])


def unfit(kind: str, folder: Path) -> bytes:
    """What may lie where a key should."""
    curve = generate_private_key(SECP256R1())
    key = Ed25519PrivateKey.generate()
    return {
        "text": b"no key",
        "binary": bytes(range(256)),
        "other kind, private": curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "other kind, public": curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "password": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        "private": Pair(folder, "p").private.read_bytes(),
        "public": Pair(folder, "p").public.read_bytes(),
        "two": Pair(folder, "p").public.read_bytes() + Pair(folder, "p").public.read_bytes(),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("text", "holds no private key in PEM form"),
        ("binary", "holds no private key in PEM form"),
        ("public", "holds no private key in PEM form"),
        ("other kind, private", "is not an Ed25519 key"),
        ("password", "has a password, and no setting gives one"),
    ],
)
def test_an_unfit_private_key_is_said_before_anything_is_signed(tmp_path: Path, kind: str, said: str) -> None:
    (tmp_path / "it.pem").write_bytes(unfit(kind, tmp_path))
    with pytest.raises(SettingsError, match=r"publish\.signing_key: .*it\.pem") as refused:
        Signer(str(tmp_path / "it.pem"))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("text", "holds no public key in PEM form"),
        ("binary", "holds no public key in PEM form"),
        ("private", "is a private key, which belongs to the publisher alone"),
        ("other kind, public", "is not an Ed25519 key"),
        ("two", "holds more than one key"),
    ],
)
def test_an_unfit_public_key_is_named(tmp_path: Path, kind: str, said: str) -> None:
    (tmp_path / "it.pem").write_bytes(unfit(kind, tmp_path))
    with pytest.raises(SettingsError, match=r"subscriber\.keys: .*it\.pem") as refused:
        Keys.of([str(tmp_path / "it.pem")])
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for make in (lambda name: Signer(name), lambda name: Keys.of([name])):
        with pytest.raises(SettingsError, match=r"gone\.pem is no file that can be read"):
            make(str(tmp_path / "gone.pem"))


@pytest.mark.parametrize("form", ["PEM", "one line", "DER in base64", "half of it", "with a null byte"])
def test_a_private_key_given_in_place_of_a_file_is_in_no_message_and_no_traceback(ours: Pair, form: str) -> None:
    pem = ours.private.read_text()
    body = "".join(pem.splitlines()[1:-1])
    pasted = {"PEM": pem, "one line": pem.replace("\n", " "), "DER in base64": body, "half of it": body[:30]}
    given = pasted.get(form, body + "\0")
    for make in (lambda key: Signer(key), lambda key: Keys.of([ours.base64, key])):
        with pytest.raises(SettingsError) as refused:
            make(given)
        said = "".join(traceback.format_exception(refused.value)) + repr(refused.value)
        assert body[:30] not in said
        assert not any(body[at : at + 12] in said for at in range(20, len(body) - 12))


def test_without_the_package_the_setting_is_named_with_what_to_install(
    ours: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for make in (lambda: Signer(str(ours.private)), lambda: Keys.of([ours.base64])):
        with pytest.raises(SettingsError, match=r"pip install 'asmg-stream\[signing\]'"):
            make()
    assert Keys.of([]) is None, "without keys nothing is needed"


def test_an_envelope_is_the_same_after_the_wire_so_that_its_signature_holds(ours: Pair) -> None:
    whole = Envelope(model="default", epoch=1, source_offsets={7: 1, 0: 2}, times={"a": 1, "b": None, "c": "x"})
    signed = Signer(str(ours.private)).signed(CHAIN[0].content_bytes, whole)
    log = list(CHAIN[0].messages(signed))
    assert answers(assembler(ours), log) == ([1], [])


def test_without_a_key_the_package_is_not_even_imported() -> None:
    code = (
        "import sys; from stream_app.subscriber import ModelSubscriber, SubscriberSettings as Settings; "
        "import stream_app.sinks.kafka, stream_app.cli.versions; ModelSubscriber(Settings()); "
        "print([name for name in sys.modules if name.partition('.')[0] == 'cryptography'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"

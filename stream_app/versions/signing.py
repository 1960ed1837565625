"""Who made it: Ed25519 signatures on manifests, and on other records of the models topic.

1. What is signed is `purpose + SHA-256`: a signature for one purpose is worth nothing for another. Of a version it is
   the checksum of its manifest with an envelope that has no signature yet, so it covers content and envelope, and by
   the digests in the content every chunk.
2. With a list of keys nothing unsigned counts. Without one, signatures are not looked at.
3. A signature says who sent a version, not that it is the newest: old ones that are sent again are for the rules of the
   assembler, and silence is for the limit on staleness.
4. The private key is read from its file for each signature and kept nowhere. No message shows what was given for a
   key, unless it can only be the name of a file; and none carries what a library said of one.

The package `cryptography` is imported when there is a key, and only then.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stream_app.errors import BadSignature, SettingsError
from stream_app.versions.control import ControlRecord
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Manifest, checksum

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VERSION = b"asmg-version-1\0"
"""Purpose of the signature in a version's envelope."""
CONTROL = b"asmg-control-1\0"
"""Purpose of the signature of a control record; what is signed is the SHA-256 of its bytes."""

_KEY_BYTES = 32
_PUBLISHER, _SUBSCRIBER = "publish.signing_key", "subscriber.keys"
_MAKE = "name the file that `openssl genpkey -algorithm ed25519` makes"
_HOW = "name the file that `openssl pkey -in PRIVATE.pem -pubout` makes, or give the 32 bytes in base64"


@dataclass(frozen=True)
class Signer:
    """Signs with the private key in a PEM file. One that is put in its place signs from the next version on.

    Raises SettingsError when it is made, and later whenever the file holds no such key.
    """

    file: str

    def __post_init__(self) -> None:
        self._key()

    def sign(self, purpose: bytes, digest: bytes) -> bytes:
        """64 bytes. purpose: one of this module's; digest: the raw SHA-256 of what is signed."""
        return self._key().sign(purpose + digest)

    def signed(self, content_bytes: bytes, envelope: Envelope) -> Envelope:
        """The envelope as it is to be sent with that content: nothing else in it may change after this."""
        signature = self.sign(VERSION, _unsigned(content_bytes, envelope))
        return envelope.model_copy(update={"signature": signature})

    def signed_control(self, record: ControlRecord) -> ControlRecord:
        """The same record, signed."""
        return record._replace(signature=self.sign(CONTROL, record.signed_digest))

    def _key(self) -> Ed25519PrivateKey:
        _need_cryptography(_PUBLISHER)
        named = self.file if _is_name(self.file) else "what is given"
        try:
            pem = Path(self.file).read_bytes()
        except (OSError, ValueError):
            raise SettingsError(_PUBLISHER, f"{named} is no file that can be read", _MAKE) from None
        return _private_of_pem(named, pem)


@dataclass(frozen=True)
class Keys:
    """The public keys of those whom one believes, 32 raw bytes each."""

    public: tuple[bytes, ...]

    @staticmethod
    def of(given: Iterable[str]) -> Keys | None:
        """Each the name of a PEM file with a public key, or its 32 bytes in base64; None when none is given.

        Raises SettingsError naming the one that is neither.
        """
        keys = tuple(_public(nth, text) for nth, text in enumerate(given, 1))
        return Keys(keys) if keys else None

    def check(self, manifest: Manifest) -> str:
        """Returns which of the keys has signed it, as `signer_of`. Raises BadSignature when none has."""
        digest = _unsigned(manifest.content_bytes, manifest.envelope)
        return self._signed(VERSION, digest, manifest.envelope.signature, manifest.content.version, "")

    def check_control(self, record: ControlRecord) -> str:
        """As `check`, of a control record."""
        return self._signed(CONTROL, record.signed_digest, record.signature, None, "a control record ")

    def _signed(self, purpose: bytes, digest: bytes, signature: bytes | None, version: int | None, what: str) -> str:
        if signature is None:
            raise BadSignature(version, f"{what}is not signed, and only what one of our keys has signed is taken")
        signer = self.signer_of(purpose, digest, signature)
        if signer is None:
            raise BadSignature(version, f"{what}is signed by none of our keys")
        return signer

    def signer_of(self, purpose: bytes, digest: bytes, signature: bytes) -> str | None:
        """The key whose signature this is, by the first 16 hex digits of the SHA-256 of its bytes; None: of none."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        for public in self.public:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, purpose + digest)
            except InvalidSignature:
                continue
            return hashlib.sha256(public).hexdigest()[:16]
        return None


def _unsigned(content_bytes: bytes, envelope: Envelope) -> bytes:
    return checksum(content_bytes, envelope.model_copy(update={"signature": None}).pack())


def _private_of_pem(named: str, pem: bytes) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        remedy = "name a file without one, which this user alone can read"
        raise SettingsError(
            _PUBLISHER, f"the key in {named} has a password, and no setting gives one", remedy
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(_PUBLISHER, f"{named} holds no private key in PEM form", _MAKE) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(_PUBLISHER, f"the key in {named} is not an Ed25519 key", _MAKE)
    return key


def _public(nth: int, text: str) -> bytes:
    _need_cryptography(_SUBSCRIBER)
    with suppress(ValueError):
        if len(raw := base64.b64decode(text, validate=True)) == _KEY_BYTES:
            return raw
    named = text if _is_name(text) else f"number {nth}"
    try:
        pem = Path(text).read_bytes()
    except (OSError, ValueError):
        raise SettingsError(_SUBSCRIBER, f"{named} is no file that can be read, nor a key in base64", _HOW) from None
    return _public_of_pem(named, pem)


def _public_of_pem(named: str, pem: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in pem:
        raise SettingsError(_SUBSCRIBER, f"{named} is a private key, which belongs to the publisher alone", _HOW)
    if pem.count(b"-----BEGIN ") > 1:
        raise SettingsError(_SUBSCRIBER, f"{named} holds more than one key", "name a file for each")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(_SUBSCRIBER, f"{named} holds no public key in PEM form", _HOW) from None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(_SUBSCRIBER, f"{named} is not an Ed25519 key", _HOW)
    return key.public_bytes_raw()


def _is_name(given: str) -> bool:
    """Whether it can only name a file, so that a message may show it: neither PEM nor base64 is a line with a dot."""
    return "." in given and given.isprintable()


def _need_cryptography(setting: str) -> None:
    if find_spec("cryptography") is None:
        raise SettingsError(setting, "signatures need the package cryptography", "pip install 'asmg-stream[signing]'")

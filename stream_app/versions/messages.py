"""The messages of a version: their keys, and the manifest message that ties content and envelope together.

A chunk's key is `version/index/digest` and is never used for other bytes, because compaction keeps one message a key:
a key used again would tear a hole into an older version that somebody is still reading.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

import msgpack

from stream_app.errors import DigestMismatch, SchemaMismatch, VersionRejected
from stream_app.versions.manifest import MANIFEST_BYTES, Content, Envelope, unpack_map

Message = tuple[bytes | None, bytes | None]
"""Key and value as they lie on the topic; a value of None is a tombstone."""

PROGRESS_KEY = b"progress"
CONTROL_KEY = b"control"
"""Of the record that pins a version or unpins it (`control.py`)."""
_KEY = re.compile(rb"(\d{12})/(?:(\d{6})/([0-9a-f]{16})|manifest)", re.ASCII)
_FIELDS = {"content", "envelope", "checksum"}


class Key(NamedTuple):
    """A message's key taken apart: `chunk` (its index) and `digest` (16 hex digits) are None for a manifest."""

    version: int
    chunk: int | None
    digest: str | None

    @staticmethod
    def parse(key: bytes | None) -> Key:
        """Raises SchemaMismatch when the key is not one of ours."""
        match = _KEY.fullmatch(key or b"")
        if match is None:
            raise SchemaMismatch(None, f"key {key!r:.80} is neither a chunk's nor a manifest's")
        version, index, digest = match.groups()
        return Key(int(version), None if index is None else int(index), None if digest is None else digest.decode())


def chunk_key(version: int, index: int, digest: str) -> bytes:
    """Key of chunk `index`; `digest` is its SHA-256 in hex."""
    return f"{version:012d}/{index:06d}/{digest[:16]}".encode()


def manifest_key(version: int) -> bytes:
    """Key of a version's manifest."""
    return f"{version:012d}/manifest".encode()


class Manifest(NamedTuple):
    """A manifest message taken apart and checked in itself; `content_bytes` are kept because the digest is over
    them."""

    content: Content
    content_bytes: bytes
    envelope: Envelope

    @property
    def digest(self) -> str:
        """The version's digest (hex)."""
        return hashlib.sha256(self.content_bytes).hexdigest()

    def lists(self, key: Key) -> bool:
        """Whether `key` is that of one of its chunks."""
        chunks = self.content.chunks
        if key.version != self.content.version or key.chunk is None or key.chunk >= len(chunks):
            return False
        return chunks[key.chunk].digest[:16] == key.digest

    @staticmethod
    def pack(content_bytes: bytes, envelope: Envelope) -> bytes:
        """The value of a manifest message. Raises ValueError when it would be larger than `MANIFEST_BYTES`."""
        sealed = envelope.pack()
        value = bytes(
            msgpack.packb({"content": content_bytes, "envelope": sealed, "checksum": checksum(content_bytes, sealed)})
        )
        if len(value) > MANIFEST_BYTES:
            raise ValueError(f"a manifest of {len(value)} bytes is larger than the {MANIFEST_BYTES} that readers take")
        return value

    @staticmethod
    def unpack(value: bytes, version: int | None = None) -> Manifest:
        """`version` is the one that the key names, if any.

        Raises DigestMismatch (bytes are damaged, or another version's) or SchemaMismatch (unknown format, does not
        add up).
        """
        if len(value) > MANIFEST_BYTES:
            raise SchemaMismatch(version, f"a manifest of {len(value)} bytes; the limit is {MANIFEST_BYTES}")
        try:
            fields = unpack_map(value)
            content_bytes, sealed = fields.get("content"), fields.get("envelope")
            if fields.keys() != _FIELDS or not isinstance(content_bytes, bytes) or not isinstance(sealed, bytes):
                raise SchemaMismatch(None, "a manifest has content, envelope and checksum as bytes, and nothing else")
            if fields["checksum"] != checksum(content_bytes, sealed):
                raise DigestMismatch(None, "manifest: checksum is not that of content and envelope")
            manifest = Manifest(Content.unpack(content_bytes), content_bytes, Envelope.unpack(sealed))
        except VersionRejected as refusal:
            raise type(refusal)(version or refusal.version, refusal.problem) from refusal
        if version is not None and manifest.content.version != version:
            raise DigestMismatch(version, f"its manifest is that of version {manifest.content.version}")
        return manifest

    @staticmethod
    def readable(value: bytes) -> Manifest | None:
        """None where `unpack` refuses it."""
        try:
            return Manifest.unpack(value)
        except VersionRejected:
            return None


def pack_progress(model: str, stage: str) -> tuple[bytes, bytes]:
    """Key and value of the one message that is no version's: what the trainer does before the first version."""
    return PROGRESS_KEY, bytes(msgpack.packb({"model": model, "stage": stage}))


def unpack_progress(value: bytes, model: str) -> str:
    """The stage. Raises VersionRejected when the message is damaged, too long or another model's."""
    fields = unpack_map(value)
    stage = fields.get("stage")
    if fields.get("model") != model or not isinstance(stage, str) or len(stage) > 200:
        raise SchemaMismatch(None, f"progress message is not one of model {model!r}")
    return stage


def checksum(content_bytes: bytes, sealed: bytes) -> bytes:
    """SHA-256 over both raw digests, raw: what finds a flipped bit, and what a signature signs."""
    return hashlib.sha256(hashlib.sha256(content_bytes).digest() + hashlib.sha256(sealed).digest()).digest()

"""The control record: by it an operator says what is served, whatever is published meanwhile.

One message of the models topic under `CONTROL_KEY`; the newest stays there when the topic is compacted.

1. A pin carries the whole manifest of its version. So neither compaction, nor a new run that uses the number again, nor
   a tombstone of that manifest takes away what the pinned version is; only its chunks must still be there.
2. Of two records the one with the larger serial holds, whichever comes first: reading again obeys no old one.
3. To unpin is a record of its own, with a serial of its own. A tombstone says nothing.
4. `first` and `last` say where the chunks lay when they were pinned: hints for a reader, believed by nobody.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, NamedTuple

import msgpack
import pydantic

from stream_app.errors import DigestMismatch, SchemaMismatch, StopTheLine
from stream_app.versions.manifest import MANIFEST_BYTES, Count, Digest, Number, problem, unpack_map
from stream_app.versions.messages import Manifest

CONTROL_BYTES = MANIFEST_BYTES + 10_000
"""The largest record; a message of that size still passes Kafka's usual limit of 1 MiB."""
_FIELDS = {"control", "signature", "checksum"}
_LAST_SERIAL = 2**63 - 1
_PART = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class Pin(pydantic.BaseModel):
    """The version that is to be served: its number and digest, and `manifest`, the value of its manifest message.

    first, last: offsets of its first chunk and of its manifest (rule 4).
    """

    model_config = _PART

    version: Number
    digest: Digest
    manifest: Annotated[bytes, pydantic.Field(max_length=MANIFEST_BYTES)]
    first: Count
    last: Count

    def announced(self) -> Manifest:
        """The manifest. Raises DigestMismatch or SchemaMismatch when it is not that of the version pinned."""
        manifest = Manifest.unpack(self.manifest, self.version)
        if manifest.digest != self.digest:
            raise DigestMismatch(self.version, f"is pinned as {self.digest}, with the manifest of {manifest.digest}")
        return manifest


class Control(pydantic.BaseModel):
    """What holds for one model: a pinned version, or None for whatever is newest. Field order is the format."""

    model_config = _PART

    model: Annotated[str, pydantic.StringConstraints(min_length=1, max_length=200)]
    serial: Count
    pin: Pin | None

    def pack(self) -> bytes:
        """The bytes that a signature covers."""
        return bytes(msgpack.packb(self.model_dump()))


class ControlRecord(NamedTuple):
    """A control message taken apart and checked in itself; `control_bytes` are kept because a signature is over
    them."""

    control: Control
    control_bytes: bytes
    signature: bytes | None

    @property
    def signed_digest(self) -> bytes:
        """The raw SHA-256 that a signature signs."""
        return hashlib.sha256(self.control_bytes).digest()

    def outranks(self, other: ControlRecord | None) -> bool:
        """Which of two holds: the larger serial; of equal ones larger bytes, so that everybody decides alike."""
        return other is None or self._rank() > other._rank()

    def pack(self) -> bytes:
        """The value of the message."""
        signed = {
            "control": self.control_bytes,
            "signature": self.signature,
            "checksum": _checksum(self.control_bytes, self.signature),
        }
        return bytes(msgpack.packb(signed))

    @staticmethod
    def of(control: Control) -> ControlRecord:
        """Not signed yet."""
        return ControlRecord(control, control.pack(), None)

    @staticmethod
    def unpack(value: bytes, model: str) -> ControlRecord:
        """Raises DigestMismatch (damaged) or SchemaMismatch (no control record of `model`, or does not add up)."""
        if len(value) > CONTROL_BYTES:
            raise SchemaMismatch(None, f"a control record of {len(value)} bytes; the limit is {CONTROL_BYTES}")
        fields = unpack_map(value)
        control_bytes, signature = fields.get("control"), fields.get("signature")
        if fields.keys() != _FIELDS or type(control_bytes) is not bytes or type(signature) not in (bytes, type(None)):
            raise SchemaMismatch(None, "a control record has control, signature and checksum, and nothing else")
        if fields["checksum"] != _checksum(control_bytes, signature):
            raise DigestMismatch(None, "control record: checksum is not that of control and signature")
        try:
            control = Control.model_validate(unpack_map(control_bytes))
        except pydantic.ValidationError as error:
            raise SchemaMismatch(None, f"control record: {problem(error)}") from error
        if control.model != model:
            raise SchemaMismatch(None, f"control record: is of model {control.model!r}, not {model!r}")
        if control.pin is not None and control.pin.announced().envelope.model != model:
            raise SchemaMismatch(control.pin.version, f"is pinned, and is of another model than {model!r}")
        return ControlRecord(control, control_bytes, signature)

    def _rank(self) -> tuple[int, bytes]:
        return self.control.serial, self.control_bytes


def next_serial(newest: ControlRecord | None, now: float) -> int:
    """For a record that is to hold from now on. now: the wall clock, seconds since 1970.

    The clock, so that on a topic made anew it is above what subscribers of the old one remember; never below the
    newest on the topic. Raises StopTheLine when no serial is left, which takes a record made to that end.
    """
    known = -1 if newest is None else newest.control.serial
    if known >= _LAST_SERIAL:
        raise StopTheLine(f"the newest control record has serial {known}, the last there is: make the topic anew")
    return max(known + 1, int(now * 1000))


def _checksum(control_bytes: bytes, signature: bytes | None) -> bytes:
    return hashlib.sha256(hashlib.sha256(control_bytes).digest() + hashlib.sha256(signature or b"").digest()).digest()

"""What a version says about itself: `Content`, equal bytes wherever it is made, and `Envelope`, made at sending.

Rules kept here, so that no other place can hold a manifest that breaks them:
1. The content's bytes are msgpack of its fields in the order written below; *the digest* of a version is their SHA-256.
2. No time, place or sender in the content: replay and live, today and tomorrow, give the same bytes.
3. The tensors and the chunk list describe each other completely: sizes, order, digests, even the safetensors header. A
   manifest that does not add up is refused before a single chunk is looked at, and before anything is allocated for it.
4. A format that is not known is refused as such, not guessed at. A version is written in the oldest format that can
   say it: 2 is 1 with categories of items, 3 has histories of users, with categories or without; a version without
   either has the bytes that it always had.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal

import msgpack
import pydantic

from stream_app.errors import DigestMismatch, SchemaMismatch
from stream_app.versions.tensors import CHUNK_BYTES, TensorSpec, digest_of_chunks, header

FORMAT = 3
"""The newest; readers take it and all before."""
MAX_VERSION = 10**12 - 1
MANIFEST_BYTES = 1_000_000
CONTENT_BYTES = 900_000
"""Leaves the envelope 100 KB of a manifest; about 9,000 chunks, or 8 GB of tensors."""
MAX_CHUNKS = 16_384
"""More than fit into a manifest; also the most that a hostile msgpack array may claim to hold."""

HISTORIES = "histories."
"""With which the names of their tensors begin."""

Plain = str | int | float | bool | None
Digest = Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Number = Annotated[int, pydantic.Field(ge=1, le=MAX_VERSION)]
Rate = Annotated[float, pydantic.Field(allow_inf_nan=False)]


class _Part(pydantic.BaseModel):
    """Strict and closed: a field more or of another type is another format."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class Period(_Part):
    """The update period that the version was trained on last; `start` and `end` as its kind of period counts them."""

    number: Number
    start: Annotated[int, pydantic.Field(ge=-(2**63), lt=2**63)]
    end: Annotated[int, pydantic.Field(ge=-(2**63), lt=2**63)]
    interactions: Count


class Rows(_Part):
    """How many canonical rows the period has, and the SHA-256 of them (`Interactions.digest`)."""

    count: Count
    sha256: Digest


class Scores(_Part):
    """Prequential metrics of one candidate, measured before it trained on the period; None where there is no value."""

    auc: Rate | None = None
    log_loss: Rate | None = None
    auc_seen_items: Rate | None = None
    log_loss_seen_items: Rate | None = None

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _nan_is_none(cls, value: Any) -> Any:
        """NaN has many bit patterns and is not equal to itself: it has no place in bytes that are compared."""
        return None if isinstance(value, float) and math.isnan(value) else value


class TensorEntry(_Part):
    """One tensor: its type and shape, how many chunks it takes, and the SHA-256 over the raw digests of those."""

    name: Name
    dtype: Literal["F64", "I64", "F32", "I32", "U8"]
    shape: Annotated[tuple[Count, ...], pydantic.Field(max_length=8)]
    digest: Digest
    chunks: Count

    @property
    def spec(self) -> TensorSpec:
        """Name, type and shape alone."""
        return TensorSpec(self.name, self.dtype, self.shape)


class ChunkEntry(_Part):
    """One chunk: its place, size in bytes and SHA-256."""

    index: Count
    size: Annotated[int, pydantic.Field(ge=1, le=CHUNK_BYTES)]
    digest: Digest


class Vocabulary(_Part):
    """What kind of ids the users and items have; categories are strings, and are not named where there are none."""

    users: Literal["int", "string"]
    items: Literal["int", "string"]
    categories: Literal["string"] | None = None


class Content(_Part):
    """Everything about a version that does not depend on who publishes it, when, or where.

    Field order is the format.
    """

    format: Literal[1, 2, 3]
    version: Number
    parent: Digest | Literal[""]
    period: Period
    rows: Rows
    learning: dict[str, Plain]
    machine: dict[str, str]
    metrics: dict[str, Scores | None]
    decisions: dict[str, Plain | dict[str, Plain] | tuple[Plain, ...]]
    tensors: Annotated[tuple[TensorEntry, ...], pydantic.Field(max_length=1024)]
    chunks: Annotated[tuple[ChunkEntry, ...], pydantic.Field(min_length=1, max_length=MAX_CHUNKS)]
    vocabulary: Vocabulary

    @pydantic.model_validator(mode="after")
    def _adds_up(self) -> Content:
        """Rules 3 and 4."""
        kinds = self.vocabulary.model_dump(exclude_unset=True)
        if kinds.get("categories", "") is None:
            raise ValueError("a vocabulary of categories is not named where there is none")
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            raise ValueError("two tensors have the same name")
        if self.format != format_of(names, kinds):
            raise ValueError("histories make format 3, else a vocabulary of categories makes format 2, else it is 1")
        if [chunk.index for chunk in self.chunks] != list(range(len(self.chunks))):
            raise ValueError("chunks are not numbered 0, 1, 2, ...")
        first = header(tensor.spec for tensor in self.tensors)
        if (self.chunks[0].size, self.chunks[0].digest) != (len(first), hashlib.sha256(first).hexdigest()):
            raise ValueError("chunk 0 is not the header of these tensors")
        begin = 1
        for tensor in self.tensors:
            own = self.chunks[begin : begin + tensor.chunks]
            begin += tensor.chunks
            if sum(chunk.size for chunk in own) != tensor.spec.nbytes:
                raise ValueError(f"the chunks of tensor {tensor.name} do not have the size of its shape")
            if digest_of_chunks(bytes.fromhex(chunk.digest) for chunk in own) != tensor.digest:
                raise ValueError(f"the digest of tensor {tensor.name} is not that of its chunks")
        if begin != len(self.chunks):
            raise ValueError("chunks and tensors differ in number")
        return self

    @property
    def size(self) -> int:
        """Bytes of all chunks together."""
        return sum(chunk.size for chunk in self.chunks)

    @property
    def histories_size(self) -> int:
        """Bytes of them that are histories; 0 in a version that carries none."""
        return sum(tensor.spec.nbytes for tensor in self.tensors if tensor.name.startswith(HISTORIES))

    def pack(self) -> bytes:
        """The content's bytes: what is stored, sent and hashed."""
        fields = self.model_dump()
        if self.vocabulary.categories is None:
            del fields["vocabulary"]["categories"]
        return bytes(msgpack.packb(fields))

    @staticmethod
    def unpack(data: bytes) -> Content:
        """Raises SchemaMismatch when this is no content in a format we know, DigestMismatch when it is not msgpack."""
        fields = unpack_map(data)
        number = fields.get("version")
        version = number if type(number) is int else None
        if fields.get("format") not in range(1, FORMAT + 1) or type(fields["format"]) is not int:
            said = f"format {fields.get('format')!r} is unknown, this program reads 1 to {FORMAT}"
            raise SchemaMismatch(version, said)
        try:
            return Content.model_validate(fields)
        except pydantic.ValidationError as error:
            raise SchemaMismatch(version, f"manifest: {problem(error)}") from error


class Envelope(_Part):
    """What belongs to one sending of a version; never part of its digest.

    `source_offsets`: the next offset of each source partition; `late`: rows that came late in the period; `times`:
    what the sender wants to say about when (seconds or text); `run` changes with `--new-run` only, `epoch` with every
    publisher that takes over: the sink sets it. `signature` covers content and envelope (`signing.py`).
    """

    model: Annotated[str, pydantic.StringConstraints(min_length=1, max_length=200)]
    run: Annotated[str, pydantic.StringConstraints(max_length=200)] = ""
    epoch: Count = 0
    source_offsets: dict[int, Count] = {}
    late: Count = 0
    times: dict[str, str | Rate | None] = {}
    signature: bytes | None = None

    @pydantic.field_validator("source_offsets", mode="before")
    @classmethod
    def _number_keys(cls, value: Any) -> Any:
        """On the wire the partitions are text, since many msgpack readers refuse maps with other keys."""
        if not isinstance(value, Mapping):
            return value
        return {int(key) if isinstance(key, str) else key: offset for key, offset in value.items()}

    def pack(self) -> bytes:
        """The envelope's bytes (msgpack)."""
        fields = self.model_dump()
        fields["source_offsets"] = {str(partition): offset for partition, offset in self.source_offsets.items()}
        return bytes(msgpack.packb(fields))

    @staticmethod
    def unpack(data: bytes) -> Envelope:
        """Raises SchemaMismatch, or DigestMismatch when the bytes are not msgpack."""
        try:
            return Envelope.model_validate(unpack_map(data))
        except pydantic.ValidationError as error:
            raise SchemaMismatch(None, f"envelope: {problem(error)}") from error


def format_of(tensors: Container[str], kinds: Container[str]) -> Literal[1, 2, 3]:
    """The oldest format that can say it. tensors: by name; kinds: the kinds of ids that there are."""
    if f"{HISTORIES}offsets" in tensors:
        return 3
    return 2 if "categories" in kinds else 1


def unpack_map(data: bytes) -> dict[str, Any]:
    """One msgpack map with text keys. Raises DigestMismatch when the bytes are anything else.

    The limits keep a few bytes from claiming gigabytes: msgpack allocates an array of the length it claims to have.
    """
    try:
        value = msgpack.unpackb(data, use_list=False, max_array_len=MAX_CHUNKS, max_map_len=1024, max_ext_len=0)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise DigestMismatch(None, f"not a msgpack map ({type(error).__name__}: {error})") from error
    if not isinstance(value, dict) or not all(type(key) is str for key in value):
        raise DigestMismatch(None, "not a msgpack map with text keys")
    return value


def problem(error: pydantic.ValidationError) -> str:
    """The first problem of a failed validation, with its path, in one short line."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(step) for step in first["loc"])
    return f"{path}: {first['msg']}" if path else str(first["msg"])

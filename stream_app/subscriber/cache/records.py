"""The two small records of a cache, each under a checksum: what `current` says, and what is said of derived arrays."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

import msgpack
import pydantic

from stream_app.errors import DigestMismatch, SchemaMismatch
from stream_app.versions.manifest import Count, Digest, Name, Number, problem, unpack_map
from stream_app.versions.tensors import TensorSpec

FORMAT: Final = 1
Type = Literal["F64", "I64", "F32", "I32", "U8"]
MOST_BEFORE = 1000
_FOLDER = r"^[0-9]{6,12}-[0-9a-f]{12}(\.[0-9]{1,9})?$"
FolderName = Annotated[str, pydantic.StringConstraints(pattern=_FOLDER)]


class _Record(pydantic.BaseModel):
    """Strict and closed: a field more or of another type is another format."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = FORMAT

    def pack(self) -> bytes:
        """The record as msgpack, under its checksum."""
        record = bytes(msgpack.packb(self.model_dump()))
        return bytes(msgpack.packb({"record": record, "checksum": hashlib.sha256(record).digest()}))

    @classmethod
    def unpack(cls, value: bytes, name: str) -> Self:
        """`name`: the file, for messages. Raises DigestMismatch (damaged) or SchemaMismatch (a format not known)."""
        fields = _checked(value, name)
        if fields.get("format") != FORMAT or type(fields["format"]) is not int:
            raise SchemaMismatch(
                None, f"{name} has format {fields.get('format')!r}, which is unknown; this program reads {FORMAT}"
            )
        try:
            return cls.model_validate(fields)
        except pydantic.ValidationError as error:
            raise SchemaMismatch(None, f"{name}: {problem(error)}") from error


class Current(_Record):
    """What is served: `folder`, with the version's number and digest. before: the folders that were, newest first.

    pinned: the version that an operator wants served, as the writer knows.
    """

    folder: FolderName
    version: Number
    digest: Digest
    before: Annotated[tuple[FolderName, ...], pydantic.Field(max_length=MOST_BEFORE)] = ()
    pinned: Number | None = None


class DerivedSeal(_Record):
    """Of the version with the digest `of`, derived arrays as a release with that `layout` makes them.

    tensors: (name, type, shape) in the order of the file; digest: the SHA-256 of the whole file.
    """

    of: Digest
    layout: int
    tensors: Annotated[tuple[tuple[Name, Type, tuple[Count, ...]], ...], pydantic.Field(max_length=1024)]
    digest: Digest

    @property
    def specs(self) -> list[TensorSpec]:
        """The arrays without their values."""
        return [TensorSpec(*tensor) for tensor in self.tensors]


def is_folder_name(name: str) -> bool:
    """Whether a version's folder may be called so: nothing else in a cache's directory is ours to remove."""
    return re.fullmatch(_FOLDER, name, re.ASCII) is not None


def _checked(value: bytes, name: str) -> Mapping[str, Any]:
    try:
        fields = unpack_map(value)
        record = fields.get("record")
        if isinstance(record, bytes) and fields.get("checksum") == hashlib.sha256(record).digest():
            return unpack_map(record)
    except DigestMismatch as error:
        raise DigestMismatch(None, f"{name} is damaged: {error.problem}") from error
    raise DigestMismatch(None, f"{name} is damaged: its checksum is not that of what it holds")

"""A place for versions in memory, and a publisher that can lie.

`MemorySink` is a real implementation of `VersionSink`: it keeps the laws that the other sinks keep. The functions
below it take the messages of a version and return what a broken, hostile or replaced publisher would have sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from stream_app.errors import IncompatibleState
from stream_app.versions.columns import histories_to_tensors, ids_to_tensors, item_categories_to_tensors
from stream_app.versions.control import Control, ControlRecord, Pin
from stream_app.versions.head import Head, head_of
from stream_app.versions.manifest import Envelope, Period, Rows
from stream_app.versions.messages import (
    CONTROL_KEY,
    Key,
    Manifest,
    Message,
    chunk_key,
    manifest_key,
    pack_progress,
)
from stream_app.versions.model_version import ModelVersion, build
from stream_app.versions.tensors import TensorSpec, header

MODEL = "default"


def tiny_version(
    number: int = 1,
    parent: str = "",
    users: Any = (11, 7, 5),
    items: Any = (3, 2, 9, 4),
    width: int = 8,
    seed: int = 0,
    replaced: Mapping[str, NDArray[Any] | None] | None = None,
    categories: Sequence[Sequence[int]] | None = None,
    histories: Sequence[Sequence[int]] | None = None,
    newest: Sequence[int] = (),
    **content: Any,
) -> ModelVersion:
    """A version of a few kilobytes; `replaced` puts other tensors in (None: takes one out), `content` other fields of
    the content.

    categories: of each item the rows of its categories, out of three that there are; None for a model without.
    histories: of each user the rows of its most recent items, until time 99; newest: how many of them are of that time.
    """
    draw = np.random.default_rng(seed + 1000 * number)

    def weights(*shape: int) -> NDArray[np.float32]:
        return draw.normal(0, 0.5, shape).astype(np.float32)

    tensors = {
        "parameters.user": weights(len(users) + 1, width),
        "parameters.item": weights(len(items) + 1, width),
        "parameters.w1": weights((3 if categories is None else 5) * width, 12),
        "parameters.b1": weights(12),
        "parameters.w2": weights(12, 6),
        "parameters.b2": weights(6),
        "parameters.w3": weights(6, 1),
        "parameters.b3": weights(1),
        **ids_to_tensors("users", users),
        **ids_to_tensors("items", items),
    }
    if categories is not None:
        tensors |= {"parameters.category": weights(4, width), **ids_to_tensors("categories", ("news", "ö", ""))}
        offsets = np.cumsum([0, *map(len, categories)])
        tensors |= item_categories_to_tensors(np.array([row for item in categories for row in item]), offsets)
    until: dict[str, int] = {}
    if histories is not None:
        until = {"histories_until": 99}
        offsets, counts = np.cumsum([0, *map(len, histories)]), np.array([*newest, *[0] * (len(users) - len(newest))])
        tensors |= histories_to_tensors(np.array([row for own in histories for row in own]), offsets, counts)
    tensors |= replaced or {}
    tensors = {name: array for name, array in tensors.items() if array is not None}
    fields: dict[str, Any] = {
        "period": Period(number=number, start=10 * number, end=10 * number + 10, interactions=10),
        "rows": Rows(count=10, sha256=hashlib.sha256(bytes([number % 256])).hexdigest()),
        "learning": {"settings_digest": "0" * 64, "method": "iu", "base_model": "embedding-mlp", **until},
        "machine": {"instruction_set": "x86_64", "device": "cpu"},
        "metrics": {"iu": {"auc": 0.75, "log_loss": float("nan")}},
        "decisions": {"serving": "iu"},
    }
    return build(number=number, parent_digest=parent, tensors=tensors, **{**fields, **content})


def chain(count: int, **arguments: Any) -> list[ModelVersion]:
    """Versions 1 to `count`, each the parent of the next."""
    versions: list[ModelVersion] = []
    for number in range(1, count + 1):
        versions.append(tiny_version(number, versions[-1].digest if versions else "", **arguments))
    return versions


def envelope(epoch: int = 1, run: str = "first", model: str = MODEL) -> Envelope:
    """An envelope as a publisher of this epoch would make it."""
    return Envelope(model=model, run=run, epoch=epoch, source_offsets={0: 12, 3: 7}, late=1, times={"closed": 12.5})


def pinned(
    version: ModelVersion, serial: int = 1, sent: Envelope | None = None, first: int = 0, last: int = 0
) -> Message:
    """The message by which an operator pins `version`, which was sent in `sent`; its offsets are hints."""
    manifest = Manifest.pack(version.content_bytes, sent or envelope())
    pin = Pin(version=version.number, digest=version.digest, manifest=manifest, first=first, last=last)
    return CONTROL_KEY, ControlRecord.of(Control(model=MODEL, serial=serial, pin=pin)).pack()


def unpinned(serial: int = 2) -> Message:
    """The message by which an operator lets the newest version serve again."""
    return CONTROL_KEY, ControlRecord.of(Control(model=MODEL, serial=serial, pin=None)).pack()


class MemorySink:
    """Messages in a list; a version is appended as a whole, like a committed transaction."""

    def __init__(self, model: str = MODEL) -> None:
        self.model, self.log, self.epoch = model, list[Message](), 0

    def open(self) -> Head:
        head = self.head()
        self.epoch = head.epoch + 1
        return head

    def write(self, version: ModelVersion, envelope: Envelope) -> None:
        head = self.head()
        if envelope.run == head.run and version.number in head.digests:
            if head.digests[version.number] != version.digest:
                raise IncompatibleState("another version is there under this number")
            return
        self.log += version.messages(envelope.model_copy(update={"epoch": self.epoch}))

    def announce(self, stage: str) -> None:
        self.log.append(pack_progress(self.model, stage))

    def head(self) -> Head:
        manifests = [value for key, value in self.log if key and key.endswith(b"/manifest") and value]
        return head_of(manifests, self.model, "memory")

    def read(self, after: int = 0) -> Iterator[Message]:
        return (message for message in self.log if Key.parse(message[0]).version > after)

    def reader(self) -> MemoryReader:
        return MemoryReader(self)

    def close(self) -> None:
        pass


class MemoryReader:
    """Position in the list."""

    whole, newest = True, ""

    def __init__(self, sink: MemorySink) -> None:
        self._sink = sink
        self.begin()

    def begin(self, pin: Pin | None = None, has: str = "", whole: bool = False) -> None:
        self._position, self._at_start = 0, len(self._sink.log)

    def poll(self, timeout: float) -> Iterator[Message]:
        begin, self._position = self._position, len(self._sink.log)
        yield from self._sink.log[begin : self._position]

    def behind(self) -> int:
        return max(0, self._at_start - self._position)

    def lag(self) -> int:
        return len(self._sink.log) - self._position

    def close(self) -> None:
        pass


def truncated(message: Message, length: int) -> Message:
    """The value cut to `length` bytes, under the same key."""
    key, value = message
    return key, (value or b"")[:length]


def flipped(message: Message, bit: int) -> Message:
    """One bit of the value turned, under the same key."""
    key, value = message
    assert value is not None
    place = bit % (8 * len(value))
    turned = bytearray(value)
    turned[place // 8] ^= 1 << place % 8
    return key, bytes(turned)


def rekeyed(message: Message) -> Message:
    """A chunk under the key that its (false) bytes deserve: only the manifest can tell that it is the wrong one."""
    key, value = message
    name = Key.parse(key)
    assert value is not None
    assert name.chunk is not None
    return chunk_key(name.version, name.chunk, hashlib.sha256(value).hexdigest()), value


def consistent(content: dict[str, Any]) -> None:
    """Recomputes what a careful liar would: the header and its digest, and every tensor's digest over its chunks."""
    specs = [TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in content["tensors"]]
    first = header(specs)
    content["chunks"][0].update(size=len(first), digest=hashlib.sha256(first).hexdigest())
    begin = 1
    for tensor in content["tensors"]:
        raw = b"".join(bytes.fromhex(chunk["digest"]) for chunk in content["chunks"][begin : begin + tensor["chunks"]])
        tensor["digest"] = hashlib.sha256(raw).hexdigest()
        begin += tensor["chunks"]


def forged(
    version: ModelVersion, changes: Mapping[str, Any], sent: Envelope | None = None, careful: bool = False
) -> list[Message]:
    """The messages of a version whose content a liar has changed; checksum, keys and all chunks but the header fit it.

    careful: the header and the digests of tensors are made to fit, too.
    """
    content = msgpack.unpackb(version.content_bytes)
    for path, value in changes.items():
        *parents, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
        place = content
        for step in parents:
            place = place[step]
        place[last] = value
    if careful:
        consistent(content)
    number = content["version"] if type(content["version"]) is int and content["version"] > 0 else version.number
    messages: list[Message] = list(replace(version).messages(sent or envelope()))
    if careful:
        first = header(TensorSpec(t["name"], t["dtype"], tuple(t["shape"])) for t in content["tensors"])
        messages[0] = (chunk_key(number, 0, hashlib.sha256(first).hexdigest()), first)
    messages[-1] = (manifest_key(number), Manifest.pack(msgpack.packb(content), sent or envelope()))
    return messages

"""Assembler: messages in, whole verified versions out; the only judge of what may be served.

It trusts a model's name and its own memory, nothing else. A version is given out once, when everything below holds;
in every other case the answer is None (nothing yet, or nothing new) or a `VersionRejected`, and what is served stays
what it was.

1. **Whole, undamaged, signed.** The manifest's checksum holds, and where `keys` are given its signature is of one of
   them; all chunks that it lists are there; every chunk's SHA-256 is the one it lists. A chunk that is not what its own
   key says is never held.
2. **Fit to serve.** Known format, our model, tensors that fit the base model, finite, at most `max_bytes`. All but the
   values themselves is decided from the manifest alone.
3. **No replaced publisher.** An epoch smaller than the largest of any manifest that kept rules 1 and 2 is stale.
4. **Only forward.** Within a run versions rise; the one right after the served version names it as its parent. The
   served version again is a repeat and ignored; a number already served under another digest, or older and unknown,
   is refused.
5. **A new run** (`asmg worker --new-run`) begins its numbers anew, so its versions may go back, but only in a new
   epoch.
6. **Bounded.** Under at most four numbers something is held at a time, at most `max_bytes` together; what was touched
   longest ago gives way, and all of it when a version is served. So no message, whatever number it claims and whatever
   it brings, keeps out a version that comes whole. A version that a manifest has named and that lacks chunks when a
   message of a higher number comes is a `VersionGap` (compaction takes chunks without a word).
7. **What an operator pins** (`control.py`) is served, also when it is older, and nothing else until that is over: of
   other versions the epochs count and nothing is held. Until it is whole, what is served stays. Unpinned, it goes
   forward again from the newest that was served, which may be served once more.

`feed` has dealt with a message completely even when it raises: go on with the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from stream_app.errors import DigestMismatch, SchemaMismatch, VersionGap
from stream_app.versions.control import ControlRecord, Pin
from stream_app.versions.fitness import check_values
from stream_app.versions.held_chunks import HeldChunks
from stream_app.versions.manifest import Content
from stream_app.versions.messages import CONTROL_KEY, Key, Manifest, Message
from stream_app.versions.model_version import ModelVersion, view
from stream_app.versions.signing import Keys
from stream_app.versions.succession import Succession
from stream_app.versions.tensors import CHUNK_BYTES

MAX_BYTES = 4 << 30
_COLLECTED = 4  # versions at a time


class Judge(Protocol):
    """Whoever is to serve the versions says which ones it can (rule 2); `stream_app.serving` has them."""

    def check(self, content: Content) -> None:
        """Called with each manifest, before its chunks are collected.

        Raises SchemaMismatch unless the tensors that it lists are those of a base model that this can compute.
        """


@dataclass
class _Held:
    """What has arrived under one number, and is not complete."""

    version: int
    manifest: Manifest | None = None
    chunks: HeldChunks = field(default_factory=HeldChunks)

    def missing(self) -> list[int]:
        """Indices that the manifest names and that are not there. Call with a manifest only."""
        assert self.manifest is not None
        return [c.index for c in self.manifest.content.chunks if (c.index, c.digest) not in self.chunks]

    def gap(self) -> VersionGap:
        """What to say when it is given up. Call with a manifest only."""
        missing = self.missing()
        return VersionGap(self.version, f"{len(missing)} chunks are missing, the first is {missing[0]}")


class Assembler:
    """See the module's rules. Not thread-safe: one thread feeds it."""

    def __init__(self, model: str, judge: Judge, max_bytes: int = MAX_BYTES, keys: Keys | None = None) -> None:
        """`model`: the name that envelopes must carry.

        `max_bytes`: largest version, and largest memory for held chunks. `keys`: of those who may publish; None: of
        anybody.
        """
        self.model, self.max_bytes = model, max_bytes
        self._judge, self._keys = judge, keys
        self._succession = Succession()
        self._held: dict[int, _Held] = {}  # by version; the one touched last at the end

    @property
    def served(self) -> Manifest | None:
        """Of the version that was given out last."""
        return self._succession.served

    @property
    def epoch(self) -> int:
        """The largest so far (rule 3)."""
        return self._succession.epoch

    @property
    def pin(self) -> Pin | None:
        """What holds by rule 7, whether it is served already or not; None when nothing is pinned."""
        return self._succession.pin

    @property
    def pinned_digest(self) -> str:
        """Of the version that is pinned; "" when nothing is."""
        return "" if self.pin is None else self.pin.digest

    @property
    def sought(self) -> Pin | None:
        """The pin, as long as chunks of its version are still to come; None when it is served, or cannot be."""
        return self.pin if self.pin is not None and self.pin.version in self._held else None

    def gap_of_pin(self) -> VersionGap | None:
        """What the version that is sought lacks; None when none is."""
        if self.sought is None:
            return None
        missing = self._held[self.sought.version].missing()
        return VersionGap(self.sought.version, f"is pinned, and {len(missing)} of its chunks have not come")

    @property
    def held_bytes(self) -> int:
        """Bytes of chunks that wait for their manifest, or for each other."""
        return sum(held.chunks.size for held in self._held.values())

    def feed(self, key: bytes | None, value: bytes | None) -> ModelVersion | None:
        """A version, if this message completes one that may be served. Raises `VersionRejected` (rules 1 to 7)."""
        if value is None:
            return None
        if key == CONTROL_KEY:
            return self._control(ControlRecord.unpack(value, self.model))
        name = Key.parse(key)
        if name.chunk is None:
            return self._manifest(Manifest.unpack(value, name.version))
        return self._chunk(name, value)

    def resume(self, manifests: Iterable[Manifest]) -> None:
        """As if these had been served, in this order: what a process was serving when it ended. Before any `feed`."""
        self._succession.resume(manifests)

    def _chunk(self, key: Key, value: bytes) -> ModelVersion | None:
        assert key.chunk is not None
        pinned = self._succession.pinned
        if pinned is not None and (key.version not in self._held or not pinned.lists(key)):
            return None
        digest = self._digest_of_chunk(key, value)
        held, gap = self._slot(key.version, len(value))
        self._hold(held, key.chunk, digest, value)
        return self._complete(held, gap)

    @staticmethod
    def _digest_of_chunk(key: Key, value: bytes) -> str:
        if not 0 < len(value) <= CHUNK_BYTES:
            raise SchemaMismatch(key.version, f"chunk {key.chunk} has {len(value)} bytes, expected 1 to {CHUNK_BYTES}")
        digest = hashlib.sha256(value).hexdigest()
        if digest[:16] != key.digest:
            raise DigestMismatch(key.version, f"chunk {key.chunk} is not what its key says")
        return digest

    def _hold(self, held: _Held, index: int, digest: str, value: bytes) -> None:
        """What the manifest does not list is told, and held all the same: another run may have the same number."""
        if held.chunks.came_again((index, digest)):
            return
        overfull = held.chunks.add((index, digest), value, self.max_bytes)
        if held.manifest is None:
            if overfull:
                raise SchemaMismatch(held.version, f"chunks exceed the {self.max_bytes} bytes that a version may have")
            return
        listed = held.manifest.content.chunks
        if index >= len(listed) or listed[index].digest != digest:
            raise DigestMismatch(held.version, f"chunk {index} is not the one that the manifest lists")

    def _control(self, record: ControlRecord) -> ModelVersion | None:
        """What is held of a version that is pinned now is kept; it may be whole already."""
        if self._keys is not None:
            self._keys.check_control(record)
        before = self.pin
        if not self._succession.obey(record) or (before is None and self.pin is None):
            return None
        pinned, served = self._succession.pinned, self.served
        held, self._held = self._held, {}
        if pinned is None or (served is not None and served.digest == pinned.digest):
            return None
        self._check(pinned)
        number = pinned.content.version
        self._held[number] = pinned_held = held.get(number) or _Held(number)
        pinned_held.manifest = None  # what the operator says it is
        self._announce(pinned_held, pinned)
        return self._complete(pinned_held, None)

    def _manifest(self, manifest: Manifest) -> ModelVersion | None:
        self._check(manifest)
        if self.pin is not None:
            self._succession.note(manifest)
            return None
        if not self._succession.admits(manifest):
            self._held.pop(manifest.content.version, None)
            return None
        held, gap = self._slot(manifest.content.version)
        self._announce(held, manifest)
        return self._complete(held, gap)

    def _check(self, manifest: Manifest) -> None:
        """Rules 1 and 2, as far as a manifest tells."""
        content = manifest.content
        if self._keys is not None:
            self._keys.check(manifest)
        if manifest.envelope.model != self.model:
            raise SchemaMismatch(content.version, f"is of model {manifest.envelope.model!r}, not {self.model!r}")
        if content.size > self.max_bytes:
            raise SchemaMismatch(content.version, f"has {content.size} bytes, the limit is {self.max_bytes}")
        self._judge.check(content)

    def _slot(self, number: int, size: int = 0) -> tuple[_Held, VersionGap | None]:
        """What is held of a version, with room for `size` bytes more; and the gap, if one that was announced gave way.

        Those give way that have a lower number and lack chunks of their manifest, then what was touched longest ago.
        """
        held = self._held.pop(number, None) or _Held(number)
        gone = [other for other in self._held.values() if other.manifest is not None and other.version < number]
        for other in gone:
            del self._held[other.version]
        size += held.chunks.size
        while self._held and (len(self._held) >= _COLLECTED or self.held_bytes + size > self.max_bytes):
            gone.append(self._held.pop(next(iter(self._held))))
        self._held[number] = held
        return held, next((other.gap() for other in gone if other.manifest is not None), None)

    @staticmethod
    def _announce(held: _Held, manifest: Manifest) -> None:
        """Keeps of the chunks those that the manifest lists; forgeries raise once, the right ones may still come."""
        before = held.manifest
        later = before is None or manifest.envelope.epoch > before.envelope.epoch
        if before is not None and not later and manifest.digest != before.digest:
            raise DigestMismatch(held.version, f"was announced as {before.digest}, now comes as {manifest.digest}")
        held.manifest = manifest
        wrong = sorted(index for index, _ in held.chunks.keep(manifest.content.chunks))
        if wrong and held.missing():
            raise DigestMismatch(held.version, f"chunk {wrong[0]} is not the one that the manifest lists")

    def _complete(self, held: _Held, gap: VersionGap | None) -> ModelVersion | None:
        """The version, if it is whole and goes forward still: another may have been served since it was announced."""
        manifest = held.manifest
        if manifest is None or len(held.chunks) < len(manifest.content.chunks) or held.missing():
            if gap is not None:
                raise gap
            return None
        del self._held[held.version]
        if self.pin is None and not self._succession.admits(manifest):
            return None
        data = held.chunks.joined(manifest.content.chunks)
        if data is None:
            raise DigestMismatch(held.version, "has a chunk of another size than its manifest lists")
        version = view(manifest.content, manifest.content_bytes, data)
        check_values(version)
        self._succession.serve(manifest)
        self._held.clear()
        return version


def assembled(
    messages: Iterable[Message], model: str, judge: Judge, max_bytes: int = MAX_BYTES
) -> Iterator[ModelVersion]:
    """Every version in `messages`, in their order. Raises `VersionRejected` at the first that may not be served."""
    assembler = Assembler(model, judge, max_bytes)
    for key, value in messages:
        version = assembler.feed(key, value)
        if version is not None:
            yield version

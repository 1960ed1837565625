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
6. **Bounded.** Of at most four versions something is held at a time, at most `max_bytes` together; what was touched
   longest ago gives way, and all of it when a version is served. So no message, whatever number it claims, keeps out a
   version that comes whole. A version that a manifest has named and that lacks chunks when a message of a higher number
   comes is a `VersionGap` (compaction takes chunks without a word).

`feed` has dealt with a message completely even when it raises: go on with the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from stream_app.errors import DigestMismatch, SchemaMismatch, StaleEpoch, VersionGap, VersionRejected
from stream_app.versions.fitness import check_values
from stream_app.versions.manifest import MAX_CHUNKS, Content
from stream_app.versions.messages import Key, Manifest, Message
from stream_app.versions.model_version import ModelVersion, join
from stream_app.versions.signing import Keys
from stream_app.versions.tensors import CHUNK_BYTES

MAX_BYTES = 4 << 30
_COLLECTED = 4  # versions at a time
_KNOWN = 65_536  # served versions remembered, to tell a repeat from a forgery; 100 bytes each


class Judge(Protocol):
    """Whoever is to serve the versions says which ones it can (rule 2); `stream_app.serving` has them."""

    def check(self, content: Content) -> None:
        """Called with each manifest, before its chunks are collected.

        Raises SchemaMismatch unless the tensors that it lists are those of a base model that this can compute.
        """


@dataclass
class _Held:
    """What has arrived of one version that is not complete.

    A chunk is known by place and digest: forgeries stand beside.
    """

    version: int
    manifest: Manifest | None = None
    chunks: dict[tuple[int, str], bytes] = field(default_factory=dict)
    size: int = 0

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
        self.epoch = 0
        self.served: Manifest | None = None
        self._known: dict[int, str] = {}
        self._held: dict[int, _Held] = {}  # by version; the one touched last at the end

    @property
    def held_bytes(self) -> int:
        """Bytes of chunks that wait for their manifest, or for each other."""
        return sum(held.size for held in self._held.values())

    def feed(self, key: bytes | None, value: bytes | None) -> ModelVersion | None:
        """A version, if this message completes one that may be served. Raises `VersionRejected` (rules 1 to 6)."""
        if value is None:
            return None
        name = Key.parse(key)
        if name.chunk is None:
            return self._manifest(Manifest.unpack(value, name.version))
        return self._chunk(name, value)

    def _chunk(self, key: Key, value: bytes) -> ModelVersion | None:
        assert key.chunk is not None
        if self._is_repeat(key):
            return None
        digest = self._digest_of_chunk(key, value)
        held, gap = self._slot(key.version, len(value))
        self._hold(held, key.chunk, digest, value)
        return self._complete(held, gap)

    def _is_repeat(self, key: Key) -> bool:
        """A chunk of the served version: nothing to hold it for."""
        if self.served is None or self.served.content.version != key.version or key.chunk is None:
            return False
        chunks = self.served.content.chunks
        return key.chunk < len(chunks) and chunks[key.chunk].digest[:16] == key.digest

    @staticmethod
    def _digest_of_chunk(key: Key, value: bytes) -> str:
        if not 0 < len(value) <= CHUNK_BYTES:
            raise SchemaMismatch(key.version, f"chunk {key.chunk} has {len(value)} bytes, expected 1 to {CHUNK_BYTES}")
        digest = hashlib.sha256(value).hexdigest()
        if digest[:16] != key.digest:
            raise DigestMismatch(key.version, f"chunk {key.chunk} is not what its key says")
        return digest

    def _hold(self, held: _Held, index: int, digest: str, value: bytes) -> None:
        if (index, digest) in held.chunks:
            return
        if held.manifest is not None:
            listed = held.manifest.content.chunks
            if index >= len(listed) or listed[index].digest != digest:
                raise DigestMismatch(held.version, f"chunk {index} is not the one that the manifest lists")
        elif held.size + len(value) > self.max_bytes or len(held.chunks) >= MAX_CHUNKS:
            raise SchemaMismatch(held.version, f"chunks exceed the {self.max_bytes} bytes that a version may have")
        held.chunks[index, digest] = value
        held.size += len(value)

    def _manifest(self, manifest: Manifest) -> ModelVersion | None:
        content = manifest.content
        if self._keys is not None:
            self._keys.check(manifest)
        if manifest.envelope.model != self.model:
            raise SchemaMismatch(content.version, f"is of model {manifest.envelope.model!r}, not {self.model!r}")
        if content.size > self.max_bytes:
            raise SchemaMismatch(content.version, f"has {content.size} bytes, the limit is {self.max_bytes}")
        self._judge.check(content)
        if not self._admitted(manifest):
            self._held.pop(content.version, None)
            return None
        held, gap = self._slot(content.version)
        self._announce(held, manifest)
        return self._complete(held, gap)

    def _admitted(self, manifest: Manifest) -> bool:
        """Rules 3 to 5; False for a repeat of what was served already."""
        number, envelope, served = manifest.content.version, manifest.envelope, self.served
        same_run = served is not None and envelope.run == served.envelope.run
        if same_run and self._known.get(number) == manifest.digest:
            return False
        if envelope.epoch < self.epoch:
            raise StaleEpoch(number, f"comes from epoch {envelope.epoch}, the topic is at {self.epoch}")
        if served is not None and not same_run and envelope.epoch <= served.envelope.epoch:
            raise StaleEpoch(
                number, f"begins run {envelope.run!r} in epoch {envelope.epoch} of run {served.envelope.run!r}"
            )
        if served is not None and same_run:
            self._forward(manifest, served)
        self.epoch = envelope.epoch
        return True

    def _forward(self, manifest: Manifest, served: Manifest) -> None:
        number, last = manifest.content.version, served.content.version
        if number in self._known:
            raise DigestMismatch(number, f"was served as {self._known[number]}, now comes as {manifest.digest}")
        if number <= last:
            raise VersionRejected(number, f"is older than version {last}, which is served")
        if number == last + 1 and manifest.content.parent != served.digest:
            raise DigestMismatch(number, f"does not follow version {last}: it names another parent")

    def _slot(self, number: int, size: int = 0) -> tuple[_Held, VersionGap | None]:
        """What is held of a version, with room for `size` bytes more; and the gap, if one that was announced gave way.

        Those give way that have a lower number and lack chunks of their manifest, then what was touched longest ago.
        """
        held = self._held.pop(number, None) or _Held(number)
        gone = [other for other in self._held.values() if other.manifest is not None and other.version < number]
        for other in gone:
            del self._held[other.version]
        while self._held and (len(self._held) >= _COLLECTED or self.held_bytes + held.size + size > self.max_bytes):
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
        listed = {(chunk.index, chunk.digest) for chunk in manifest.content.chunks}
        wrong = sorted(index for index, digest in held.chunks if (index, digest) not in listed)
        held.chunks = {name: chunk for name, chunk in held.chunks.items() if name in listed}
        held.size = sum(map(len, held.chunks.values()))
        if wrong and held.missing():
            raise DigestMismatch(held.version, f"chunk {wrong[0]} is not the one that the manifest lists")

    def _complete(self, held: _Held, gap: VersionGap | None) -> ModelVersion | None:
        """The version, if it is whole and goes forward still: another may have been served since it was announced."""
        manifest = held.manifest
        if manifest is None or len(held.chunks) < len(manifest.content.chunks):  # only what it lists is held
            if gap is not None:
                raise gap
            return None
        del self._held[held.version]
        if not self._admitted(manifest):
            return None
        content = manifest.content
        chunks = (held.chunks.pop((chunk.index, chunk.digest)) for chunk in content.chunks)
        version = join(content, manifest.content_bytes, chunks)
        check_values(version)
        self._serve(manifest)
        return version

    def _serve(self, manifest: Manifest) -> None:
        if self.served is None or self.served.envelope.run != manifest.envelope.run:
            self._known.clear()
        self._known[manifest.content.version] = manifest.digest
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        self.served = manifest
        self._held.clear()


def assembled(
    messages: Iterable[Message], model: str, judge: Judge, max_bytes: int = MAX_BYTES
) -> Iterator[ModelVersion]:
    """Every version in `messages`, in their order. Raises `VersionRejected` at the first that may not be served."""
    assembler = Assembler(model, judge, max_bytes)
    for key, value in messages:
        version = assembler.feed(key, value)
        if version is not None:
            yield version

"""Whether the versions that lie in a place are what their manifests say; of chunks nothing is held but digests.

A version is sound when its manifest can be read and is of our model, every chunk that it lists is there with the
digest and size listed, it names the version before it (if that is there too) as its parent and comes from no older
epoch, and, where keys are given, one of them has signed it. Whether its values can be served is for a subscriber's
judge to say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from stream_app.errors import SchemaMismatch, VersionRejected
from stream_app.versions.messages import Key, Manifest, Message
from stream_app.versions.signing import Keys
from stream_app.versions.tensors import Buffer


@dataclass
class Inventory:
    """What lies in a place: (number, value) of each manifest, and of each chunk under its key how many bytes it has
    and their SHA-256."""

    manifests: list[tuple[int, bytes]] = field(default_factory=list)
    chunks: dict[Key, tuple[int, str]] = field(default_factory=dict)

    def add_chunk(self, key: Key, chunk: Buffer) -> None:
        """Hash it, and forget it."""
        self.chunks[key] = (len(chunk), hashlib.sha256(chunk).hexdigest())


@dataclass(frozen=True)
class Finding:
    """What is known of one version; sound when there are no `problems`.

    manifest: None when it cannot be read. signature: the key that signed it (see `Keys.signer_of`), "unsigned", or
    "signature not checked" where it is signed and no keys are given, or "false" where none of them has.
    """

    version: int
    manifest: Manifest | None
    signature: str
    problems: tuple[str, ...]


def inventory_of(log: Iterable[Message]) -> Inventory:
    """What is left of a topic's messages, in their order: the last one under each key holds, a tombstone takes it away.

    Messages that are no version's are passed over.
    """
    manifests: dict[int, bytes] = {}
    found = Inventory()
    for raw, value in log:
        try:
            key = Key.parse(raw)
        except SchemaMismatch:
            continue
        if key.chunk is not None:
            found.chunks.pop(key, None)
            if value is not None:
                found.add_chunk(key, value)
        else:
            manifests.pop(key.version, None)
            if value is not None:
                manifests[key.version] = value
    found.manifests = list(manifests.items())
    return found


def audited(found: Inventory, model: str, keys: Keys | None = None) -> list[Finding]:
    """A finding for each manifest, by epoch and number; those that cannot be read come first."""
    manifests, findings = [], []
    for number, value in found.manifests:
        try:
            manifests.append(Manifest.unpack(value, number))
        except VersionRejected as refusal:
            findings.append(Finding(number, None, "", (refusal.problem,)))
    named = {(one.envelope.run, one.content.version): one for one in manifests}
    for manifest in sorted(manifests, key=lambda one: (one.envelope.epoch, one.content.version)):
        number, envelope = manifest.content.version, manifest.envelope
        signature, unsigned = _signature(manifest, keys)
        problems = [
            *([] if envelope.model == model else [f"is of model {envelope.model!r}, not {model!r}"]),
            *_missing(manifest, found),
            *_out_of_line(manifest, named.get((envelope.run, number - 1))),
            *unsigned,
        ]
        findings.append(Finding(number, manifest, signature, tuple(problems)))
    return findings


def _missing(manifest: Manifest, found: Inventory) -> list[str]:
    """The first chunk that is not there or not what is listed, and how many there are of them."""
    number, listed = manifest.content.version, manifest.content.chunks
    problems = []
    for chunk in listed:
        there = found.chunks.get(Key(number, chunk.index, chunk.digest[:16]))
        if there != (chunk.size, chunk.digest):
            problems.append(f"chunk {chunk.index} is {'missing' if there is None else 'not the one that it lists'}")
    return problems if len(problems) < 2 else [f"{problems[0]}, and {len(problems) - 1} more of {len(listed)}"]


def _out_of_line(manifest: Manifest, before: Manifest | None) -> list[str]:
    if before is None:
        return []
    problems, number, epoch = [], before.content.version, before.envelope.epoch
    if manifest.content.parent != before.digest:
        problems.append(f"names another parent than version {number} ({before.digest[:12]})")
    if manifest.envelope.epoch < epoch:
        problems.append(f"comes from epoch {manifest.envelope.epoch}, version {number} before it from {epoch}")
    return problems


def _signature(manifest: Manifest, keys: Keys | None) -> tuple[str, list[str]]:
    """As `Finding.signature`, and what is wrong with it."""
    signed = manifest.envelope.signature is not None
    if keys is None:
        return "signature not checked" if signed else "unsigned", []
    try:
        return keys.check(manifest), []
    except VersionRejected as refusal:
        return "false" if signed else "unsigned", [refusal.problem]

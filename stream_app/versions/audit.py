"""Whether what lies in a place is what it says.

A version is sound when its manifest can be read and is of our model, every chunk that it lists is there with the
digest and size listed, it names the version before it (if that is there too) as its parent and comes from no older
epoch, and, where keys are given, one of them has signed it. A control record is sound when it can be read, is signed in
the same way, and what it pins is there. Whether values can be served is for a subscriber's judge to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_app.errors import VersionRejected
from stream_app.versions.control import ControlRecord
from stream_app.versions.messages import Key, Manifest
from stream_app.versions.signing import Keys
from stream_app.versions.stock import Stock


@dataclass(frozen=True)
class Finding:
    """What is known of one version; sound when there are no `problems`.

    manifest: None when it cannot be read. signature: the key that signed it (`Keys.signer_of`), "unsigned",
    "signature not checked" where no keys are given, or "false" where none of them has signed it.
    """

    version: int
    manifest: Manifest | None
    signature: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ControlFinding:
    """What is known of the control record, as `Finding`; record: None when it cannot be read."""

    record: ControlRecord | None
    signature: str
    problems: tuple[str, ...]


def audited(stock: Stock, model: str, keys: Keys | None = None) -> list[Finding]:
    """A finding for each manifest, by epoch and number; those that cannot be read come first."""
    manifests, findings = [], []
    for number, value in stock.manifests:
        try:
            manifests.append(Manifest.unpack(value, number))
        except VersionRejected as refusal:
            findings.append(Finding(number, None, "", (refusal.problem,)))
    named = {(one.envelope.run, one.content.version): one for one in manifests}
    for manifest in sorted(manifests, key=lambda one: (one.envelope.epoch, one.content.version)):
        number, envelope = manifest.content.version, manifest.envelope
        problems = [
            *([] if envelope.model == model else [f"is of model {envelope.model!r}, not {model!r}"]),
            *_missing(manifest, stock),
            *_out_of_line(manifest, named.get((envelope.run, number - 1))),
        ]
        signature, unsigned = _signed(manifest, keys)
        findings.append(Finding(number, manifest, signature, (*problems, *unsigned)))
    return findings


def audited_control(stock: Stock, model: str, keys: Keys | None = None) -> ControlFinding | None:
    """None where there is no control record."""
    if stock.control is None:
        return None
    try:
        record = ControlRecord.unpack(stock.control, model)
    except VersionRejected as refusal:
        return ControlFinding(None, "", (refusal.problem,))
    signature, problems = _signed(record, keys)
    if record.control.pin is not None:
        pinned = record.control.pin.announced()
        problems += [
            f"the version it pins: {problem}" for problem in (*_missing(pinned, stock), *_signed(pinned, keys)[1])
        ]
    return ControlFinding(record, signature, tuple(problems))


def _missing(manifest: Manifest, stock: Stock) -> list[str]:
    """The first chunk that is not there or not what is listed, and how many there are of them."""
    number, listed = manifest.content.version, manifest.content.chunks
    problems = []
    for chunk in listed:
        there = stock.chunks.get(Key(number, chunk.index, chunk.digest[:16]))
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


def _signed(signed: Manifest | ControlRecord, keys: Keys | None) -> tuple[str, list[str]]:
    """As `Finding.signature`, and what is wrong with it."""
    signature = signed.envelope.signature if isinstance(signed, Manifest) else signed.signature
    if keys is None:
        return "unsigned" if signature is None else "signature not checked", []
    try:
        return keys.check(signed) if isinstance(signed, Manifest) else keys.check_control(signed), []
    except VersionRejected as refusal:
        return "unsigned" if signature is None else "false", [refusal.problem]

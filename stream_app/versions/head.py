"""Head: what a topic or directory holds already, as the next publisher must know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream_app.errors import SettingsError, VersionRejected
from stream_app.versions.messages import Manifest


@dataclass(frozen=True)
class Head:
    """`version` and `digest` of the newest version (0 and "" when there is none) and its `run`; the largest `epoch`.

    `digests`: of every version of that run that is still there, for a publisher that takes over to compare with its
    own.
    """

    version: int = 0
    digest: str = ""
    run: str = ""
    epoch: int = 0
    digests: Mapping[int, str] = field(default_factory=dict)


def head_of(manifests: Iterable[bytes], model: str, place: str) -> Head:
    """Head of a place from the values of its manifest messages, in any order. Damaged ones count as not there.

    Raises SettingsError when `place` (a topic or directory, for the message) holds versions of another model.
    """
    read = [manifest for value in manifests if (manifest := _readable(value)) is not None]
    if others := sorted({manifest.envelope.model for manifest in read} - {model}):
        raise SettingsError(
            "model", f"{place} holds versions of model {others[0]!r}, not {model!r}", "use another place"
        )
    if not read:
        return Head()
    # A later run starts in a later epoch, and may start its numbers anew.
    newest = max(read, key=lambda manifest: (manifest.envelope.epoch, manifest.content.version))
    run = newest.envelope.run
    digests = {m.content.version: m.digest for m in read if m.envelope.run == run}
    return Head(newest.content.version, newest.digest, run, newest.envelope.epoch, digests)


def _readable(value: bytes) -> Manifest | None:
    try:
        return Manifest.unpack(value)
    except VersionRejected:
        return None

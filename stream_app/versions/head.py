"""Head: what a topic or directory holds already, as the next publisher must know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream_app.errors import IncompatibleState, SettingsError, StopTheLine
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import ModelVersion

LAST_EPOCH = 2**63 - 1
_WHY = (
    "they come from different data, settings or machines; nothing was sent; restore the state directory that made what "
    "is there, or begin anew with --new-run"
)


@dataclass(frozen=True)
class Head:
    """`version` and `digest` of the newest version (0 and "" when there is none) and its `run`; the largest `epoch`.

    `digests`: of every version of that run that is still there, for a publisher that takes over to compare with its
    own. `older_runs`: other runs of which versions are still there.
    """

    version: int = 0
    digest: str = ""
    run: str = ""
    epoch: int = 0
    digests: Mapping[int, str] = field(default_factory=dict)
    older_runs: frozenset[str] = frozenset()

    def holds(self, version: ModelVersion, run: str, place: str) -> bool:
        """Whether `version` of `run` is there already; `place` (a topic or directory) is for messages.

        A version that retention has taken already is not there to be compared. Raises StopTheLine when the head is of
        a newer run, or IncompatibleState when it is not the history that this version belongs to.
        """
        if self.version == 0:
            return False
        if run != self.run:
            # The first run has no name, so a named one is newer.
            if run in self.older_runs or not run:
                raise StopTheLine(
                    f"{place} is at version {self.version} of run {self.run!r}, which began after our run {run!r}: "
                    "this state directory belongs to a run that is over; end this worker, or begin anew with --new-run"
                )
            return False
        number, parent = version.number, version.content.parent
        known = self.digests.get(number, version.digest) if number <= self.version else version.digest
        if known != version.digest:
            raise IncompatibleState(f"{place} has {known} as version {number}, the store has {version.digest}: {_WHY}")
        if number == self.version + 1 and parent != self.digest:
            raise IncompatibleState(
                f"{place} has {self.digest} as version {self.version}, the store's version {number} follows {parent}: "
                f"{_WHY}"
            )
        return number <= self.version

    def next_epoch(self, place: str, known: int = 0) -> int:
        """Of a publisher that takes over; `known`: the largest that it has had or seen itself.

        Raises StopTheLine when none is left, which takes a manifest made to that end: readers would refuse all else.
        """
        last = max(self.epoch, known)
        if last >= LAST_EPOCH:
            raise StopTheLine(
                f"{place} holds a version of epoch {last}, the last there is, so that nobody could take over: somebody "
                "else writes there; take that right away and make it anew"
            )
        return last + 1

    def and_then(self, version: ModelVersion, run: str, epoch: int) -> Head:
        """The head once `version` is there, too."""
        same = run == self.run
        digests = {**(self.digests if same else {}), version.number: version.digest}
        older = self.older_runs if same or not self.version else self.older_runs | {self.run}
        return Head(version.number, version.digest, run, epoch, digests, older)


def head_of(manifests: Iterable[bytes], model: str, place: str) -> Head:
    """Head of a place from the values of its manifest messages, in any order. Damaged ones count as not there.

    Raises SettingsError when `place` (a topic or directory, for the message) holds versions of another model.
    """
    read = [manifest for value in manifests if (manifest := Manifest.readable(value)) is not None]
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
    older = frozenset(manifest.envelope.run for manifest in read) - {run}
    return Head(newest.content.version, newest.digest, run, newest.envelope.epoch, digests, older)

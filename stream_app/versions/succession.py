"""Succession: what may be served after what is served; rules 3 to 5 and 7 of the assembler, and all that it remembers.

`newest` is the version that went furthest forward of those that were served: from it others go forward. While an older
one is pinned, and until a version is served after that, `served` is another.
"""

from __future__ import annotations

from collections.abc import Iterable

from stream_app.errors import DigestMismatch, StaleEpoch, VersionRejected
from stream_app.versions.control import ControlRecord, Pin
from stream_app.versions.messages import Manifest

_KNOWN = 65_536  # versions remembered, to tell a repeat from a forgery; 100 bytes each


class Succession:
    """epoch: the largest so far; served: what is served now; control: the record that holds; pinned: what it pins."""

    def __init__(self) -> None:
        self.epoch = 0
        self.served: Manifest | None = None
        self.control: ControlRecord | None = None
        self.pinned: Manifest | None = None
        self._newest: Manifest | None = None
        self._known: dict[int, str] = {}
        self._passed = 0
        """Of the newest's run: what is older than this is no attack but the past, since a pin or a restart led past
        it, and is passed over without a word."""

    @property
    def pin(self) -> Pin | None:
        """What the record that holds says; None when nothing is pinned."""
        return None if self.control is None else self.control.control.pin

    def obey(self, record: ControlRecord) -> bool:
        """Whether the record is new; one that was outranked, or the same again, changes nothing."""
        if not record.outranks(self.control):
            return False
        self.control = record
        self.pinned = None if self.pin is None else self.pin.announced()
        return True

    def note(self, manifest: Manifest) -> None:
        """Called with each manifest that passes by while something else is pinned."""
        self.epoch = max(self.epoch, manifest.envelope.epoch)

    def admits(self, manifest: Manifest) -> bool:
        """Whether it may be served when it is whole; False for a repeat. Raises VersionRejected (rules 3 to 5).

        Call it while nothing is pinned.
        """
        number, envelope, last = manifest.content.version, manifest.envelope, self._newest
        same_run = last is not None and envelope.run == last.envelope.run
        if same_run and self._known.get(number) == manifest.digest:
            return self._returns_to(manifest)
        if self._is_served(manifest) or (same_run and number < self._passed):
            return False
        if envelope.epoch < self.epoch:
            raise StaleEpoch(number, f"comes from epoch {envelope.epoch}, the topic is at {self.epoch}")
        if last is not None and not same_run and envelope.epoch <= last.envelope.epoch:
            raise StaleEpoch(
                number, f"begins run {envelope.run!r} in epoch {envelope.epoch} of run {last.envelope.run!r}"
            )
        if last is not None and same_run:
            self._forward(manifest, last)
        self.epoch = envelope.epoch
        return True

    def serve(self, manifest: Manifest) -> None:
        """Called when it is whole and served from now on."""
        self.served = manifest
        self.note(manifest)
        if self._newest is None or _place(manifest) > _place(self._newest):
            if self._newest is None or self._newest.envelope.run != manifest.envelope.run:
                self._known.clear()
                self._passed = 0
            self._newest = manifest
            self._known[manifest.content.version] = manifest.digest
            if len(self._known) > _KNOWN:
                del self._known[next(iter(self._known))]
            if self.pin is not None:
                self._passed = manifest.content.version

    def resume(self, manifests: Iterable[Manifest]) -> None:
        """Goes on as if these had been served, in this order, and all older ones before them."""
        for manifest in manifests:
            self.serve(manifest)
        if self._newest is not None:
            self._passed = self._newest.content.version

    def _returns_to(self, manifest: Manifest) -> bool:
        """A repeat is served again only when it is the newest and a pin has put another in its place."""
        newest = self._newest
        return newest is not None and manifest.digest == newest.digest and not self._is_served(manifest)

    def _is_served(self, manifest: Manifest) -> bool:
        served = self.served
        return served is not None and (served.digest, served.envelope.run) == (manifest.digest, manifest.envelope.run)

    def _forward(self, manifest: Manifest, last: Manifest) -> None:
        number, newest = manifest.content.version, last.content.version
        if number in self._known:
            raise DigestMismatch(number, f"was served as {self._known[number]}, now comes as {manifest.digest}")
        if number <= newest:
            raise VersionRejected(number, f"is older than version {newest}, which is served")
        if number == newest + 1 and manifest.content.parent != last.digest:
            raise DigestMismatch(number, f"does not follow version {newest}: it names another parent")


def _place(manifest: Manifest) -> tuple[int, int]:
    """Along it a model goes forward: within a run by numbers, from run to run by epochs."""
    return manifest.envelope.epoch, manifest.content.version

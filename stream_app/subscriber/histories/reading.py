"""What has been read of the segments topic to continue the histories of what serves. No thread, no socket."""

from __future__ import annotations

from stream_app.serving.histories import VersionHistories
from stream_app.serving.model import ServingModel
from stream_app.subscriber.histories.live import LiveHistories
from stream_app.subscriber.histories.positives import NewRun, Positives, SegmentRows


class Reading:
    """From a version on: it is turned to each later one, and begun anew for an earlier one. What the version before
    needs is held until the next turn, for requests that still score with that one.

    live: the positives since the version's time; position: offset of the record to go on with, None before the first;
    missing: why some since then may be missing, "" if none are.
    """

    def __init__(self, model: ServingModel, histories: VersionHistories, limit: int, missing: str = "") -> None:
        """limit: see `LiveHistories`; missing: what is known to be lost already."""
        self.version, self._kinds = model.version.number, _kinds(model)
        self.live = LiveHistories(histories.until, limit)
        self.position: int | None = None
        self.until = self._missing_until = histories.until
        self.missing = missing
        self._limit, self._rows = limit, SegmentRows(*self._kinds)

    def turned_to(self, model: ServingModel, histories: VersionHistories) -> bool:
        """Continue this version from now on; False when that takes rows that are not held any more."""
        if model.version.number == self.version and histories.until == self.until:
            return True
        if histories.until < self.live.since or _kinds(model) != self._kinds:
            return False
        self.version = model.version.number
        self.live.drop_before(min(self.until, histories.until))
        self.until = histories.until
        if histories.until > self._missing_until:
            self.missing = ""
        return True

    def lack(self, what: str) -> None:
        """Rows are missing, of times until about those that come next."""
        self.missing, self._missing_until = what, max(self._missing_until, self.until)

    def take(self, offset: int, message: bytes) -> None:
        """One record of the topic. Raises IncompatibleState, and has taken nothing then: its reading ends here."""
        said = self._rows.take(message)
        if isinstance(said, NewRun):
            self.live, self._rows = LiveHistories(self.live.since, self._limit), SegmentRows(*self._kinds)
        elif isinstance(said, Positives):
            self._add(said)
        self.position = offset + 1

    def _add(self, positives: Positives) -> None:
        if positives.hole:
            self.lack(f"the segments topic has a hole: {positives.hole}")
        if self.missing and len(positives.times):
            self._missing_until = max(self._missing_until, int(positives.times.max()))
        self.live.add(positives)


def _kinds(model: ServingModel) -> tuple[str, str]:
    ids = model.version.content.vocabulary
    return ids.users, ids.items

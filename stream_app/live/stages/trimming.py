"""Forgets the rows of old periods, so that the journal does not grow with the stream.

Rows stay until their period is TRAINED: then what a method still needs of them is in the learner's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stream_app.store.journal import Journal
from stream_app.store.view import StoreView


@dataclass(frozen=True)
class WindowSettings:
    """What the window process keeps."""

    journal_keep: int = 10
    """Trained periods whose rows stay in the journal, the last ones."""

    def __post_init__(self) -> None:
        if self.journal_keep < 0:
            raise ValueError(f"journal_keep: must be 0 or more periods, is {self.journal_keep}")


class Trimming:
    """Looks at what the trainer has done, in its store at `path`, which is only read."""

    def __init__(self, settings: WindowSettings, path: Path) -> None:
        self._keep, self._path = settings.journal_keep, path
        self._store: StoreView | None = None

    def trim(self, journal: Journal) -> None:
        """Called after a period has closed: that is seldom, and there is no more to forget in between.

        Raises IncompatibleState, StoreCorrupted.
        """
        self._store = self._store or StoreView.open(self._path)
        self._store.refresh()
        before = self._store.last_period - self._keep + 1
        if before > journal.kept_from:
            journal.trim(before)

    def close(self) -> None:
        """Give the store back."""
        if self._store is not None:
            self._store.close()
            self._store = None

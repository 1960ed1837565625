"""`asmg worker --until-end`: whether a stream that was ended is dealt with, down to its last version.

A partition has ended when an END mark is the last that came from it (`asmg produce --end`). All that is looked at is
written by others: the journal, the trainer's store, and where the topics end.
"""

from __future__ import annotations

from stream_app.errors import Unavailable
from stream_app.live.cluster.ends import ends_of
from stream_app.live.seeing.why_open import why_open
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.journal_view import JournalView
from stream_app.store.view import StoreView


class UntilEnd:
    """Call it again and again, from one thread: true once nothing is left to do."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._journal: JournalView | None = None
        self._store: StoreView | None = None

    def __call__(self) -> bool:
        """Asks the broker only once all that lies in the state directory is done. Raises StopTheLine kinds."""
        journal = self._refreshed()
        if journal is None or not _ended(journal):
            return False
        self._store = self._store or StoreView.open(self._settings.state_directory / STORE)
        self._store.refresh()  # after the journal: what that holds is done here or is not
        return _done(journal, self._store) and self._all_collected(journal)

    def _refreshed(self) -> JournalView | None:
        if self._journal is None:
            self._journal = JournalView.beside(self._settings.state_directory / JOURNAL)
        else:
            self._journal.refresh()
        return self._journal

    def _all_collected(self, journal: JournalView) -> bool:
        """Whether the journal has all that the two topics hold; False as well when the broker does not say it."""
        interactions, segments = self._settings.topics.interactions, self._settings.topics.segments
        try:
            ends = ends_of(self._settings.kafka, (interactions, segments))
        except Unavailable:
            return False
        read = {number: mark.next_offset or 0 for number, mark in journal.marks.items()}
        return ends[segments][0].end <= journal.position and all(
            number in read and range_.end <= read[number] for number, range_ in ends[interactions].items()
        )


def what_stays(settings: WorkerSettings) -> str:
    """What has been done, and which rows are in no closed period and why. Raises StopTheLine kinds."""
    journal = JournalView.beside(settings.state_directory / JOURNAL)
    assert journal is not None, "it has been read before"
    with journal, StoreView.open(settings.state_directory / STORE) as store:
        found, last = journal.open_period(), journal.last_closed
        number = last.number if last else 0
        return "\n".join(
            (
                f"the stream has ended: trained up to period {number}, published up to version {store.last_published}",
                f"open period {number + 1}: {found.rows} rows",
                *(f"  {reason}" for reason in why_open(found, settings.periods)),
            )
        )


def _ended(journal: JournalView) -> bool:
    """An idle partition has not: rows may come."""
    partitions = {*range(journal.partitions or 0), *journal.marks}
    return bool(journal.partitions) and all(journal.mark(number).quiet == "ended" for number in partitions)


def _done(journal: JournalView, store: StoreView) -> bool:
    """Whether every closed period is trained, every version published, every late row with the dead letters."""
    closed, made = journal.last_closed, store.head()
    trained = closed is None or store.last_period >= closed.number
    published = made is None or store.last_published >= made[0]
    return trained and published and next(journal.late_rows(), None) is None

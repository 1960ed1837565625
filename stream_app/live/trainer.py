"""The trainer: a process that keeps the model in memory, takes closed periods from the journal, and learns them.

It needs no Kafka to learn: what it makes waits in the outbox of its store, and a thread publishes it. It may be ended
at any moment without warning, since a period is done as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import TypeVar

from models.learner_state import LearnerState
from models.learning import LearningSettings
from stream_app.fixed import fixed_for_store
from stream_app.learning import Learner, prepare
from stream_app.live.publisher import Publisher
from stream_app.live.state_directory import JOURNAL, STORE, run_of
from stream_app.live.trainer_status import StatusFile
from stream_app.live.worker_settings import WorkerSettings
from stream_app.pipeline import Updated, update
from stream_app.sinks import KafkaSink
from stream_app.store.journal_view import JournalView
from stream_app.store.states import Store
from stream_app.telemetry import event

POLL_SECONDS = 0.2
Found = TypeVar("Found")


def train(settings: WorkerSettings) -> None:
    """Learns closed periods, one after the other, until the process is ended.

    Raises StopTheLine kinds: of the store, of the journal, or because another publisher has taken over; SettingsError
    when there is no such device.
    """
    learning, directory = settings.learning or LearningSettings(), settings.state_directory
    prepare(learning)
    fixed = fixed_for_store(settings.records, settings.periods, learning)
    store = Store.open(directory / STORE, fixed, keep=learning.window + 1)
    sink = KafkaSink(settings.kafka, settings.topics.models, settings.model)
    publisher = Publisher(store, sink, settings.model, run_of(directory))
    publisher.start()
    status = StatusFile(directory)
    status.stage("waiting", store)
    learner = Learner(learning)
    journal, state = _opened(directory, publisher), None
    while True:
        updated = update(journal, store, learner, state, lambda name: status.stage(name, store))
        publisher.check()
        if updated is None:
            _wait_for_news(journal, publisher)
        else:
            state = _told(updated, publisher)
            status.done(updated.outcome.stage)
            status.stage("waiting", store)


def _opened(directory: Path, publisher: Publisher) -> JournalView:
    """The journal, once the window process has made it."""
    return _until(lambda: JournalView.beside(directory / JOURNAL), publisher)


def _wait_for_news(journal: JournalView, publisher: Publisher) -> None:
    _until(lambda: journal.refresh() or None, publisher)


def _until(found: Callable[[], Found | None], publisher: Publisher) -> Found:
    while (result := found()) is None:
        publisher.check()
        sleep(POLL_SECONDS)
    return result


def _told(updated: Updated, publisher: Publisher) -> LearnerState:
    version = updated.version.number if updated.version else None
    publisher.wake(updated.outcome.stage, version)
    event(
        "period-trained",
        period=updated.period.number,
        rows=updated.period.rows,
        version=version,
        stage=updated.outcome.stage,
        seconds=sum(updated.seconds.values()),
    )
    return updated.state

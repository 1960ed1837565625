"""The trainer: a process that keeps the model in memory, takes closed periods from the journal, and learns them.

It needs no Kafka to learn: what it makes waits in the outbox of its store, and a thread publishes it. It may be ended
at any moment without warning, since a period is done as a whole or not at all.

Of several workers of a model one is active, the one that has the window; the trainers of the others stand by: they
have no store open, learn nothing and have no producer.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from time import sleep

from models.learner_state import LearnerState
from models.learning import LearningSettings
from stream_app.fixed import fixed_for_store
from stream_app.learning import Learner, prepare
from stream_app.live.alone import member_id
from stream_app.live.seeing import metrics
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.training.publisher import Publisher
from stream_app.live.training.trainer_status import StatusFile
from stream_app.live.training.window_status import confirm_window, read_window
from stream_app.live.worker_settings import WorkerSettings
from stream_app.pipeline import Updated, update
from stream_app.sinks.kafka import KafkaSink
from stream_app.store.journal_view import JournalView
from stream_app.store.states import Store
from stream_app.store.view import StoreView
from stream_app.telemetry import event

POLL_SECONDS = 0.2


def train(settings: WorkerSettings) -> None:
    """Learns closed periods while this worker has the window, else stands by, until the process is ended.

    Raises StopTheLine kinds: of the store, of the journal, or because of another publisher; SettingsError when there is
    no such device.
    """
    learning = settings.learning or LearningSettings()
    prepare(learning)
    status = StatusFile(settings.state_directory)
    while True:
        _stand_by(settings, status)
        _learn(settings, learning, status)


def _stand_by(settings: WorkerSettings, status: StatusFile) -> None:
    """Returns when the window is ours."""
    with StoreView.open(settings.state_directory / STORE) as store:
        status.stage("stand-by", store)
    event("stand-by")
    while not _has_window(settings):
        sleep(POLL_SECONDS)
    event("active")


def _learn(settings: WorkerSettings, learning: LearningSettings, status: StatusFile) -> None:
    """Learns one period after the other; returns, after a whole one, when the window is no longer ours."""
    fixed = fixed_for_store(settings.records, settings.periods, learning)
    path = settings.state_directory / STORE
    with ExitStack() as opened:
        store = opened.enter_context(closing(Store.open(path, fixed, keep=learning.window + 1)))
        status.stage("waiting", store)
        journal = _journal(settings)
        if journal is None:
            return
        opened.enter_context(journal)
        publisher = opened.enter_context(closing(_publisher(settings, store, journal.run)))
        publisher.start()
        learner, state = Learner(learning), None
        while _has_window(settings):
            updated = update(journal, store, learner, state, lambda name: status.stage(name, store))
            publisher.check()
            if updated is not None:
                state = _told(updated, publisher)
                status.done(updated.outcome.stage)
                status.stage("waiting", store)
            elif not journal.refresh():
                sleep(POLL_SECONDS)


def _has_window(settings: WorkerSettings) -> bool:
    return read_window(settings.state_directory).active


def _journal(settings: WorkerSettings) -> JournalView | None:
    """The journal, once there is something in it; None when the window is taken from us before that."""
    while _has_window(settings):
        journal = JournalView.beside(settings.state_directory / JOURNAL)
        if journal is not None:
            if journal.position:
                return journal
            journal.close()
        sleep(POLL_SECONDS)
    return None


def _publisher(settings: WorkerSettings, store: Store, run: str) -> Publisher:
    """It fences no other one before the broker has said that the window is ours."""
    group = settings.kafka.our("window_group", settings.model)
    confirm = partial(confirm_window, settings.kafka, group, member_id(group, settings.state_directory, 0))
    publish, topic = settings.publish, settings.topics.models
    sink = KafkaSink(settings.kafka, topic, settings.model, confirm, publish.signer(), publish.keep)
    return Publisher(store, sink, settings.model, run, confirm)


def _told(updated: Updated, publisher: Publisher) -> LearnerState:
    version = updated.version.number if updated.version else None
    publisher.wake(updated.outcome.stage, version)
    metrics.period_trained(updated.seconds)
    score = updated.outcome.scores.get(updated.outcome.served or "")
    event(
        "period-trained",
        period=updated.period.number,
        rows=updated.period.rows,
        version=version,
        stage=updated.outcome.stage,
        method=updated.outcome.method,
        reason=updated.outcome.decisions.get("reason"),
        auc=score.auc if score else None,
        log_loss=score.log_loss if score else None,
        seconds=sum(updated.seconds.values()),
    )
    return updated.state

"""`asmg worker`: its children, and what each of them runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Literal, NoReturn

from stream_app.broker.preflight import preflight
from stream_app.broker.rights import Right, denied_by
from stream_app.errors import on_disk
from stream_app.fixed import fixed_for_journal, fixed_for_store
from stream_app.live.alone import alone
from stream_app.live.cluster.beginning import first_start
from stream_app.live.cluster.rights_watch import RightsWatch
from stream_app.live.cluster.roles import rights
from stream_app.live.cluster.topics_check import check
from stream_app.live.seeing.observation import observed
from stream_app.live.stages import app
from stream_app.live.stages.collect import Collect
from stream_app.live.stages.late_letters import LateLetters
from stream_app.live.stages.window import Window
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.supervisor import Child, end_with_parent, leave, supervise
from stream_app.live.until_end import UntilEnd
from stream_app.live.worker_settings import WorkerSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.store import view
from stream_app.store.journal_view import JournalView
from stream_app.store.layout import check_fixed, open_beside

Role = Literal["collect", "window", "trainer"]


def run_worker(settings: WorkerSettings, command: Sequence[str], until_end: bool = False) -> bool:
    """Runs a worker until SIGTERM or SIGINT; returns whether the stream has ended. Call it in the main thread.

    command: the command line that becomes a child's when "--child ROLE --index N" is added to it. until_end: end once
    the stream has ended and all of it is trained and published.
    Raises Unavailable (no broker; no topic, at the start or later), SettingsError (no signing key, an unfit topic, a
    port that is taken), AccessDenied (a right is missing, or has been taken away), IncompatibleState or StoreCorrupted
    (an unfit state directory), TopicRecreated, ChildFailed.
    """
    settings.publish.signer()
    check_cluster(settings)
    check_state(settings)
    roles: list[tuple[Role, int]] = [
        *(("collect", n) for n in range(settings.collectors)),
        ("window", 0),
        ("trainer", 0),
    ]
    children = [Child(child_name(role, n), (*command, "--child", role, "--index", str(n))) for role, n in roles]
    read = (settings.topics.interactions, settings.topics.segments)
    watch = RightsWatch(settings.kafka, needed(settings), read)
    ended = UntilEnd(settings) if until_end else watch
    with observed(settings, [child.name for child in children]) as seen:
        first_start(settings)
        return supervise(children, until=lambda: watch() or ended(), seen=seen)


def child_name(role: Role, index: int) -> str:
    """How a child is called in logs and metrics."""
    return f"{role}-{index}" if index else role


def needed(settings: WorkerSettings) -> list[Right]:
    """The rights that a worker must have on the cluster."""
    return rights("worker", settings.kafka, settings.topics, settings.model)


def check_cluster(settings: WorkerSettings) -> None:
    """Returns when the brokers let us in and do what is needed, and the topics fit.

    Raises AccessDenied, Unavailable, SettingsError.
    """
    check(settings.kafka, settings.topics, needed(settings))


def check_state(settings: WorkerSettings) -> None:
    """Returns when the settings fit the state directory, which is only read; what is not there yet fits.

    Raises IncompatibleState (naming the setting, its old and its new value), StoreCorrupted.
    """
    # Before any child starts: wrong `records` would make `collect` refuse, and commit, what the others never see.
    wanted = [(JOURNAL, JournalView.KIND, fixed_for_journal(settings.records, settings.periods))]
    if settings.learning is not None:  # else torch would have to be loaded here, only to compare defaults
        wanted.append((STORE, view.KIND, fixed_for_store(settings.records, settings.periods, settings.learning)))
    for name, kind, fixed in wanted:
        database = open_beside(settings.state_directory / name, kind)
        if database is not None:
            with closing(database):
                check_fixed(database, fixed)


def run_child(settings: WorkerSettings, role: Role, index: int = 0) -> NoReturn:
    """What a child process runs, until SIGTERM or until its parent is gone; it does not return. Raises AsmgErrors."""
    end_with_parent()
    with on_disk(settings.state_directory):
        run_role(settings, role, index)
    leave()


def run_role(settings: WorkerSettings, role: Role, index: int = 0) -> None:
    """The work of a child, without a parent; `index` tells several collectors apart. Raises AsmgErrors."""
    with alone(settings.state_directory, f"{role}-{index}"), _missing_rights_named(settings, role):
        if role == "trainer":
            # Imported here: torch takes seconds to load, and the other children have no use for it.
            from stream_app.live.training.trainer import train

            train(settings)
        else:
            group = settings.kafka.our("collect_group" if role == "collect" else "window_group", settings.model)
            app.run(group, settings.kafka, stage_of(settings, role), settings.state_directory, index)


@contextmanager
def _missing_rights_named(settings: WorkerSettings, role: Role) -> Iterator[None]:
    """Raises AccessDenied in place of what a client library says when a right is missing."""
    try:
        yield
    except Exception as error:
        denied = denied_by(error, role)
        if denied is None:
            raise
        preflight(settings.kafka, (), needed(settings))
        raise denied from error  # a right that has come back meanwhile


def stage_of(settings: WorkerSettings, role: Literal["collect", "window"]) -> app.Stage:
    """What the Faust child of that role does with its topic; nothing is opened yet."""
    if role == "collect":
        return Collect(settings.kafka, settings.topics, settings.records, settings.collect)
    fixed = fixed_for_journal(settings.records, settings.periods)
    letters = None
    if settings.periods.late == "dead-letter":
        letters = LateLetters(settings.kafka, settings.topics, settings.records)
    return Window(
        settings.kafka,
        settings.topics,
        settings.periods,
        settings.state_directory,
        fixed,
        settings.window,
        letters,
        KafkaSink(settings.kafka, settings.topics.models, settings.model).head,
    )

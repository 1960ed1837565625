"""Where a worker begins to read: at its first start, and in a new run.

Kafka's committed offsets say where reading begins, so that whoever collects, on whatever machine, begins there:

1. A first start commits where `collect.start` says, unless somebody has committed or read before; "earliest" needs no
   commit. A partition without one is read from its earliest record: it was added later.
2. A new run writes its mark and its starts to the segments topic and commits the mark for the window, then the starts
   for the collectors. An empty journal begins at that mark; one of another run that meets it stops. The state directory
   is put aside last: killed before that, the old directory stops at the mark, and doing it again is the remedy.
3. Offsets are committed only into groups without members: the broker refuses them otherwise.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stream_app.errors import GroupInUse, NewerRun, StoreLocked, TopicRecreated, on_disk
from stream_app.events.segment import RunMark
from stream_app.live.alone import there
from stream_app.live.cluster.groups import Cluster, cluster
from stream_app.live.state_directory import JOURNAL, put_aside
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.journal_view import JournalView


@dataclass(frozen=True)
class NewRun:
    """A run that has just begun. aside: where the old state is now, None if there was none."""

    name: str
    aside: Path | None


def first_start(settings: WorkerSettings) -> None:
    """Called before the children start: commits where collecting begins, if that was not decided before.

    Raises TopicRecreated or NewerRun when the state directory belongs to another topic or run; Unavailable.
    """
    with cluster(settings) as kafka:
        read = _read_of(settings, kafka)
        if kafka.has_starts():
            return
        with suppress(GroupInUse):  # somebody has begun meanwhile
            if read:
                # Kafka forgets the offsets of a group that was empty for long; the journal does not.
                kafka.commit_starts(read)
            elif settings.collect.start != "earliest":
                kafka.commit_starts(kafka.starts())


def begin_new_run(settings: WorkerSettings) -> NewRun:
    """Begins anew, whatever became of topics and state; call it while no worker of this model runs.

    Versions of the new run begin with 1. Raises StoreLocked while a worker runs in the state directory, GroupInUse
    naming the group that has members elsewhere: nothing has changed then. Unavailable: to be done once more.
    DiskRefuses: the state is where it was, and belongs to an older run now.
    """
    if there(settings.state_directory):
        raise StoreLocked(settings.state_directory)
    name = uuid.uuid4().hex
    with cluster(settings) as kafka:
        kafka.wait_for_empty_groups()
        starts = kafka.starts()
        kafka.commit_mark(RunMark(name), starts)
        kafka.commit_starts(starts)
    with on_disk(settings.state_directory):
        return NewRun(name, put_aside(settings.state_directory))


def _read_of(settings: WorkerSettings, kafka: Cluster) -> dict[int, int]:
    """What the journal has read, as the next offset by source partition. Raises TopicRecreated, NewerRun."""
    journal = JournalView.beside(settings.state_directory / JOURNAL)
    if journal is None:
        return {}
    with journal:
        if kafka.topic_id and journal.topic_id not in ("", kafka.topic_id):
            raise TopicRecreated(settings.topics.interactions, f"its id was {journal.topic_id} and is {kafka.topic_id}")
        run = kafka.run()
        if journal.position and run not in ("", journal.run):
            raise NewerRun(run, journal.run)
        return {n: mark.next_offset for n, mark in journal.marks.items() if mark.next_offset is not None}

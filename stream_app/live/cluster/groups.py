"""What a worker asks and tells the cluster about where reading begins, through an admin client of kafka-python."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import numpy as np

from models.interactions import Interactions
from stream_app.errors import GroupInUse, Unavailable
from stream_app.events.segment import RunMark, Segment, SegmentsRecord
from stream_app.live.alone import member_id
from stream_app.live.stages.topic_request import id_text
from stream_app.live.worker_settings import WorkerSettings

MEMBERS_GO_AFTER = 15.0
"""Seconds until Kafka has forgotten the members of a worker that was killed: their session timeout, and some more."""
COORDINATORS_COME_WITHIN = 20.0
_RETRY = 0.5


@contextmanager
def cluster(settings: WorkerSettings) -> Iterator[Cluster]:
    """The cluster as this worker's settings name it. Raises Unavailable whenever it does not answer or refuses."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(**settings.kafka.kafka_python())
        try:
            _wait_for_coordinators(admin, settings.kafka.our("collect_group", settings.model))
            yield Cluster(settings, admin)
        finally:
            admin.close()
    except KafkaError as error:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap}: {error}") from error


def _wait_for_coordinators(admin: Any, group: str) -> None:
    """A new cluster makes its topic of groups only when the first group is asked about, which takes it seconds."""
    from kafka.errors import CoordinatorNotAvailableError

    deadline = monotonic() + COORDINATORS_COME_WITHIN
    while True:
        try:
            admin.describe_groups([group])
            return
        except CoordinatorNotAvailableError:
            if monotonic() > deadline:
                raise
        sleep(_RETRY)


class Cluster:
    """The interactions topic and the two consumer groups of a worker. Made by `cluster`; raises its KafkaErrors."""

    def __init__(self, settings: WorkerSettings, admin: Any) -> None:
        from kafka import TopicPartition

        self._settings, self._admin = settings, admin
        self._collect = settings.kafka.our("collect_group", settings.model)
        self._window = settings.kafka.our("window_group", settings.model)
        (topic,) = admin.describe_topics([settings.topics.interactions])
        numbers = sorted(partition["partition_index"] for partition in topic["partitions"])
        self._tps = {n: TopicPartition(topic["name"], n) for n in numbers}
        self._segments = TopicPartition(settings.topics.segments, 0)
        said = topic.get("topic_id")
        self.topic_id = id_text(uuid.UUID(str(said)).bytes) if said else ""

    def has_starts(self) -> bool:
        """Whether anybody has begun to collect this topic."""
        return any(kept.offset >= 0 for kept in self._committed(self._collect, self._tps.values()))

    def run(self) -> str:
        """The name of the newest run; "" while there is only the first."""
        return "".join(kept.metadata or "" for kept in self._committed(self._window, [self._segments]))

    def starts(self) -> dict[int, int]:
        """Where `collect.start` says, as an offset by partition; where no record is that young, at the end."""
        from kafka.admin import OffsetSpec
        from kafka.protocol.consumer import IsolationLevel

        start = self._settings.collect.start
        named = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST}
        found = self._offsets(named.get(start) or self._settings.collect.start_ms, IsolationLevel.READ_COMMITTED)
        if lacking := [n for n, offset in found.items() if offset < 0]:
            ends = self._offsets(OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)
            found |= {n: ends[n] for n in lacking}
        return found

    def commit_starts(self, offsets: Mapping[int, int]) -> None:
        """Where collecting begins, by partition. Raises GroupInUse."""
        self._commit(self._collect, {self._tps[n]: (offset, "") for n, offset in offsets.items() if n in self._tps})

    def commit_mark(self, mark: RunMark, starts: Mapping[int, int]) -> None:
        """Writes the mark and, in one batch with it, where each partition begins; from the mark on the window reads.

        starts: by partition. A collector of an earlier run that comes back, and sends what it still holds, makes a
        hole then, which stops the line; without them it would decide where its partition begins. Raises GroupInUse.
        """
        from kafka import KafkaProducer

        producer = KafkaProducer(**self._settings.kafka.kafka_python(), acks="all", linger_ms=1_000)
        try:
            records: list[SegmentsRecord] = [mark, *(self._nothing(n, offset) for n, offset in starts.items())]
            sent = [producer.send(self._segments.topic, record.encode(), partition=0) for record in records]
            producer.flush(timeout=MEMBERS_GO_AFTER)
            written, *_ = [future.get(timeout=MEMBERS_GO_AFTER) for future in sent]
        finally:
            producer.close()
        self._commit(self._window, {self._segments: (written.offset, mark.run)})

    def wait_for_empty_groups(self) -> None:
        """Our own static members, which stay for a while after they ended, are sent away. Raises GroupInUse."""
        from kafka.admin import MemberToRemove

        for group, count in ((self._collect, self._settings.collectors), (self._window, 1)):
            ids = [member_id(group, self._settings.state_directory, n) for n in range(count)]
            members = self._members(group)
            if ours := [MemberToRemove(group_instance_id=one) for one in ids if one in members]:
                self._admin.remove_group_members(group, ours)
            deadline = monotonic() + MEMBERS_GO_AFTER
            while members := self._members(group):
                if monotonic() > deadline:
                    raise GroupInUse(group, members)
                sleep(_RETRY)

    def _nothing(self, partition: int, offset: int) -> Segment:
        """An empty segment: so far nothing was read of the partition, and what follows begins at `offset`."""
        kinds = self._settings.records
        rows = Interactions.empty(kinds.user_ids, kinds.item_ids, bool(kinds.categories))
        return Segment(partition, offset, offset, np.empty(0, np.int64), rows)

    def _committed(self, group: str, tps: Iterable[Any]) -> list[Any]:
        found = self._admin.list_group_offsets({group: list(tps)})
        return list(found.get(group, {}).values())

    def _members(self, group: str) -> list[str]:
        described = self._admin.describe_groups([group])[group]
        return [member["group_instance_id"] or member["member_id"] for member in described["members"]]

    def _offsets(self, spec: int, isolation: Any) -> dict[int, int]:
        found = self._admin.list_partition_offsets(dict.fromkeys(self._tps.values(), spec), isolation)
        return {n: found[tp].offset for n, tp in self._tps.items()}

    def _commit(self, group: str, offsets: Mapping[Any, tuple[int, str]]) -> None:
        from kafka.errors import NoError, UnknownMemberIdError
        from kafka.structs import OffsetAndMetadata

        told = {tp: OffsetAndMetadata(offset, text, None) for tp, (offset, text) in offsets.items()}
        for tp, error in self._admin.alter_group_offsets(group, told).items():
            if error is UnknownMemberIdError:
                raise GroupInUse(group)
            if error is not NoError:
                raise error(f"{group} {tp}")

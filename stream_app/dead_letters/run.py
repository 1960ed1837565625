"""The newest run of a worker, as far as dead letters go: when it began, and from where on it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_app.events.dead_letter import DeadLetter
from stream_app.events.segment import PartitionSet, Segment, decode
from stream_app.live.cluster.ends import committed
from stream_app.live.cluster.topic_reader import TopicReader
from stream_app.live.worker_settings import WorkerSettings


@dataclass(frozen=True)
class Run:
    """began_ms: None for the first run, which nothing came before; starts: its first offset of each partition."""

    began_ms: int | None = None
    starts: Mapping[int, int] = field(default_factory=dict)

    def has_read_again(self, letter: DeadLetter, at_ms: int) -> bool:
        """Whether a letter that was written at `at_ms` is of an earlier run, and this one has read its original."""
        earlier = self.began_ms is not None and at_ms < self.began_ms
        return earlier and letter.offset >= self.starts.get(letter.partition, 0)

    @staticmethod
    def newest(settings: WorkerSettings) -> Run:
        """The run whose mark the window's group has committed. Raises Unavailable, IncompatibleState."""
        topics, group = settings.topics, settings.kafka.our("window_group", settings.model)
        mark = committed(settings.kafka, group, topics.segments).get(0)
        if mark is None:
            return Run()
        with TopicReader(settings.kafka, topics.segments, (0,)) as reader:
            return _begun(reader, mark)


def _begun(reader: TopicReader, mark: int) -> Run:
    """Reads from the mark on until every partition has spoken.

    Where retention has taken the mark, the run counts as having begun, with everything, at the first record left.
    """
    began: int | None = None
    count, starts = 0, dict[int, int]()
    for part in reader.read({0: mark}):
        for message in part.records:
            began = message.timestamp if began is None else began
            record = decode(message.value)
            if isinstance(record, PartitionSet):
                count = max(count, record.count)
            elif isinstance(record, Segment):
                starts.setdefault(record.partition, record.first_offset)
        if 0 < count <= len(starts):
            break
    return Run(began, starts if reader.ranges[0].earliest <= mark else {})

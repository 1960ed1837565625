"""The file of a recording: one run, each of its interactions once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_app.errors import BadInput, TopicRecreated
from stream_app.events.segment import END, PartitionSet, Segment, SegmentsRecord
from stream_app.formats.segments_file import About
from stream_app.formats.segments_writer import SegmentsWriter


@dataclass
class Recorded:
    """What is in a recording. bad: messages that are no valid interactions, by reason.

    whole: False when the topic no longer holds the beginning of what is recorded.
    """

    interactions: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    partitions: int = 0
    ended: set[int] = field(default_factory=set)
    whole: bool = True

    @property
    def all_ended(self) -> bool:
        """Whether nothing more comes from any partition."""
        return 0 < self.partitions <= len(self.ended)

    def note(self, record: SegmentsRecord) -> None:
        """Count one that is written."""
        if isinstance(record, PartitionSet):
            self.partitions = max(self.partitions, record.count)
        elif isinstance(record, Segment):
            self.interactions += len(record)
            if len(record) or record.marks:
                self.ended.discard(record.partition)
            if record.marks and record.marks[-1][1] == END:
                self.ended.add(record.partition)


class RunFile:
    """The file of one run, and what is in it."""

    def __init__(self, path: Path, about: About) -> None:
        self._path, self._about = path, about
        self.found, self._writer = Recorded(), SegmentsWriter(path, about)
        self._known: dict[int, int] = {}
        self._topic_id = ""

    def begin(self) -> None:
        """A run begins: all that came before belongs to an earlier one."""
        self._writer.close()
        self.found, self._writer = Recorded(), SegmentsWriter(self._path, self._about)
        self._known, self._topic_id = {}, ""

    def put(self, record: SegmentsRecord, at_ms: int | None = None, rows_at: NDArray[np.int64] | None = None) -> None:
        """As `SegmentsWriter.put`, without repeats. Raises OffsetGap, TopicRecreated, BadInput."""
        if isinstance(record, PartitionSet):
            if record.topic_id and self._topic_id and record.topic_id != self._topic_id:
                raise TopicRecreated("of the interactions", f"its id was {self._topic_id} and is {record.topic_id}")
            self._topic_id = record.topic_id or self._topic_id
        if isinstance(record, Segment):
            known = self._known.get(record.partition)
            record = record if known is None else record.after(known)
            if record.next_offset == known:
                return  # all of it is there
            self._known[record.partition] = record.next_offset
        try:
            self._writer.put(record, at_ms, rows_at)
        except ValueError as error:
            raise BadInput(f"topic {self._about.topic}", str(error), "use the settings of the worker") from error
        self.found.note(record)

    def close(self) -> None:
        """The file is whole when it returns."""
        self._writer.close()

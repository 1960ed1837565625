"""`asmg record`: what lies on a topic becomes a recording, whose replay gives the periods and versions of the live run.

1. A recording of the segments topic holds the run that is the newest on it, as the journal takes it: repeats are cut,
   so that each interaction is there once, and a hole is `OffsetGap`. What earlier runs left does not matter.
2. A recording of the interactions topic is decoded as `collect` does it. It has no idle marks, and begins at the first
   message that there is.
3. The file is written aside, synced and then named: there is never half a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stream_app.broker import KafkaSettings
from stream_app.errors import AsmgError, BadInput, StopTheLine
from stream_app.events.record import RecordSettings
from stream_app.events.segment import PartitionSet, RunMark, Segment, decode
from stream_app.formats.messages import decoder
from stream_app.formats.segments_file import About
from stream_app.formats.whole_file import must_be_new, named_when_whole
from stream_app.live.cluster.topic_reader import Part, TopicReader
from stream_app.live.cluster.topics import TopicSettings
from stream_app.recorder.run_file import Recorded, RunFile

Source = Literal["segments", "interactions"]
Told = Callable[[int], None]
Take = Callable[[Part, bool], None]
"""Takes what was read; the second says whether that is all that the topic held at first."""


class Recorder:
    """One recording of the topic `source` into the file `out`, which must not be there yet."""

    def __init__(
        self, out: Path, kafka: KafkaSettings, topics: TopicSettings, records: RecordSettings, source: Source
    ) -> None:
        """Raises BadInput for the file; Unavailable, and what else a preflight says."""
        must_be_new(out)
        if out.suffix.lower() != ".parquet":
            raise BadInput(out, "is no name for a recording", "let it end in .parquet")
        self._out, self._records = out, records
        self._about = About.of(source, getattr(topics, source), records)
        self._reader = TopicReader(kafka, self._about.topic)

    @property
    def messages(self) -> int:
        """How many messages there may be now."""
        return sum(range_.end - range_.earliest for range_ in self._reader.ranges.values())

    def run(self, until_end: bool = False, told: Told = lambda messages: None) -> Recorded:
        """Record what the topic holds now; until_end: and what comes, until all partitions have ended.

        told: how many messages have been read. Raises OffsetGap, TopicRecreated, IncompatibleState (the segments topic
        holds what no journal would take), BadInput (the file cannot be written, settings that do not fit), Unavailable.
        """
        read = self._segments if self._about.source == "segments" else self._interactions
        messages = 0
        with self._reader, named_when_whole(self._out) as aside:
            file = RunFile(aside, self._about)
            take = read(file)
            at = {number: range_.earliest for number, range_ in self._reader.ranges.items()}
            for part in self._reader.read(follow=until_end):
                at[part.partition] = part.next_offset
                up_to_date = all(at[number] >= range_.end for number, range_ in self._reader.ranges.items())
                take(part, up_to_date)
                messages += part.next_offset - part.first_offset
                told(messages)
                if until_end and up_to_date and file.found.all_ended:
                    break
            file.close()
        return file.found

    def _segments(self, file: RunFile) -> Take:
        trouble: list[AsmgError] = []  # with the run that is being read; a newer one may follow
        file.found.whole = all(range_.earliest == 0 for range_ in self._reader.ranges.values())

        def take(part: Part, up_to_date: bool) -> None:
            for message in part.records:
                try:
                    record = decode(message.value)
                    if isinstance(record, RunMark):
                        file.begin()
                        trouble.clear()
                    if not trouble:
                        file.put(record, message.timestamp)
                except (StopTheLine, BadInput) as error:
                    trouble.append(error)
            if trouble and up_to_date:
                raise trouble[0]

        return take

    def _interactions(self, file: RunFile) -> Take:
        decode_all = decoder(self._records)
        file.put(PartitionSet(len(self._reader.ranges)))

        def take(part: Part, up_to_date: bool) -> None:
            offsets, stamps = _numbers(part.records, "offset"), _numbers(part.records, "timestamp")
            decoded = decode_all(
                [message.value for message in part.records],
                offsets.tolist(),
                stamps.tolist(),
                [message.headers for message in part.records] if self._records.reads_headers() else None,
            )
            file.found.bad.update(row.reason for row in decoded.bad)
            rows, marks = decoded.interactions, decoded.marks
            whole = Segment(part.partition, part.first_offset, part.next_offset, decoded.offsets, rows, marks)
            for segment in whole.split():
                file.put(segment, None, stamps[np.searchsorted(offsets, segment.offsets)])

        return take


def _numbers(messages: Sequence[Any], name: str) -> NDArray[np.int64]:
    return np.array([getattr(message, name) for message in messages], np.int64)

"""Reads what a topic holds, from beginning to end, as a plain client without a group: committed records only.

A part covers a range of offsets without a hole, also where only marks of transactions lie there; so what reads on from
parts knows exactly what it has seen.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import preflight
from stream_app.errors import Unavailable
from stream_app.live.cluster.ends import Range

_ANSWER_MS = 8_000
_SILENCE_SECONDS = 10.0
_READ_AHEAD = 5_000


class Part(NamedTuple):
    """[first_offset, next_offset) of a partition: its committed records (kafka-python's), by offset, possibly none."""

    partition: int
    first_offset: int
    next_offset: int
    records: list[Any]


class TopicReader:
    """The topic as it is when the reader is made. ranges: what each partition holds then, up to what is committed."""

    def __init__(self, kafka: KafkaSettings, topic: str, partitions: Collection[int] | None = None) -> None:
        """partitions: those to read, None for all. Raises Unavailable: no broker, no such topic."""
        preflight(kafka, [topic])
        self._kafka, self.topic = kafka, topic
        with self._reaching():
            self._consumer = KafkaConsumer(**kafka.plain_reader(), max_poll_records=_READ_AHEAD)
            try:
                there = sorted(self._consumer.partitions_for_topic(topic) or ())
                tps = [TopicPartition(topic, number) for number in there if partitions is None or number in partitions]
                earliest = self._consumer.beginning_offsets(tps, timeout_ms=_ANSWER_MS)
                ends = self._consumer.end_offsets(tps, timeout_ms=_ANSWER_MS)
            except BaseException:
                self._consumer.close()
                raise
        self.ranges = {tp.partition: Range(earliest[tp], ends[tp]) for tp in tps}

    def read(self, begins: Mapping[int, int] | None = None, follow: bool = False) -> Iterator[Part]:
        """Part after part of all partitions; those of one partition follow each other without a hole.

        begins: where to begin (default: at the first offset there is). follow: go on after the end, for ever.
        Raises Unavailable.
        """
        at = {number: max(range_.earliest, (begins or {}).get(number, 0)) for number, range_ in self.ranges.items()}
        tps = {number: TopicPartition(self.topic, number) for number in at}
        with self._reaching():
            self._consumer.assign(list(tps.values()))
            for number, tp in tps.items():
                self._consumer.seek(tp, at[number])
        heard = time.monotonic()
        while follow or any(at[number] < range_.end for number, range_ in self.ranges.items()):
            found = list(self._polled(at, tps, follow))
            for part in found:
                at[part.partition] = part.next_offset
                yield part
            if found:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE_SECONDS:
                with self._reaching():  # the client tells nobody that it has lost the broker
                    self._consumer.end_offsets(list(tps.values()), timeout_ms=_ANSWER_MS)
                heard = time.monotonic()

    def _polled(self, at: Mapping[int, int], tps: Mapping[int, TopicPartition], follow: bool) -> Iterator[Part]:
        with self._reaching():
            polled = self._consumer.poll(timeout_ms=500)
            # Beyond the last record there may be marks of transactions, which only the position tells.
            positions = {n: int(self._consumer.position(tp, timeout_ms=_ANSWER_MS)) for n, tp in tps.items()}
        for number, position in positions.items():
            end = position if follow else min(position, self.ranges[number].end)
            if end > at[number]:
                records = [record for record in polled.get(tps[number], ()) if record.offset < end]
                yield Part(number, at[number], end, records)

    def record_at(self, partition: int, offset: int) -> Any | None:
        """The record that lies there; None when none does (any more). It ends what `read` was at."""
        if partition not in self.ranges or not self.ranges[partition].earliest <= offset < self.ranges[partition].end:
            return None
        elsewhere = {number: range_.end for number, range_ in self.ranges.items()}
        for part in self.read({**elsewhere, partition: offset}):
            for record in part.records:
                return record if record.offset == offset else None
        return None

    def offset_since(self, partition: int, timestamp_ms: int) -> int:
        """The first offset of a record with this Kafka timestamp or a later one; the end if there is none."""
        with self._reaching():
            tp = TopicPartition(self.topic, partition)
            found = self._consumer.offsets_for_times({tp: timestamp_ms}, timeout_ms=_ANSWER_MS)[tp]
        return self.ranges[partition].end if found is None else int(found.offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._consumer.close()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
            raise Unavailable(
                f"topic {self.topic}: Kafka deleted records (retention) while they were being read; read again"
            ) from error
        except (KafkaError, OSError) as error:
            raise Unavailable(
                f"topic {self.topic} at {self._kafka.bootstrap}: {type(error).__name__}: {error}"
            ) from error

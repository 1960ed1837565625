"""The collect stage: fetches of the interactions topic become segments; what is no interaction becomes a dead letter.

Rules, each of which keeps "nothing lost, nothing twice":

1. A segment covers a whole fetch, also where it holds no valid row, and each of these waits until Kafka has it before
   the next is sent: no segment can overtake another.
2. Dead letters are on their topic before the segment that covers them; their key says where they came from, so that one
   sent twice after a crash is seen to be the same.
3. Kafka's committed offset follows behind. It may be stale, never ahead: then fetches are repeated, and the window cuts
   what it has. Nothing else is kept, so that any number of collectors may come and go.
4. For every batch the broker is asked, after it was fetched and before anything of it is sent, whether the topic is
   still that of the assignment: offsets of a topic that was made anew mean other records.
5. An idle mark goes out in order with the segments, once per quiet stretch, and only for what `IdleClock` saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.types import TP

from stream_app.broker import KafkaSettings
from stream_app.errors import TopicRecreated
from stream_app.events.dead_letter import DeadLetter, Origin
from stream_app.events.record import BadRow, RecordSettings
from stream_app.events.segment import IdleMark, PartitionSet, Segment
from stream_app.formats.messages import decoder
from stream_app.live.cluster.topics import TopicSettings
from stream_app.live.seeing import metrics
from stream_app.live.stages.collect_settings import CollectSettings
from stream_app.live.stages.idle import IdleClock
from stream_app.live.stages.refusals import Refusals
from stream_app.live.stages.topic_watch import WATCH_EVERY, TopicWatch
from stream_app.live.stages.transport import Batch, Known, Offsets
from stream_app.telemetry import event


class Collect:
    """The stage that reads interactions and writes segments and dead letters; it holds no state.

    clock: seconds that never go back, for idle marks.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicSettings,
        records: RecordSettings,
        settings: CollectSettings,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.topic = topics.interactions
        self.hints: dict[TP, int] = {}
        self._kafka, self._topics, self._records = kafka, topics, records
        self._producer: AIOKafkaProducer | None = None
        self._refusals = Refusals()
        self._source = TopicWatch(kafka, self.topic)
        self._idle_after, self._clock = settings.idle_after, clock
        self._every = min(WATCH_EVERY, settings.idle_after / 4 or WATCH_EVERY)
        self._idle = IdleClock(settings.idle_after, silence=2 * self._every)
        self._order = asyncio.Lock()
        self._next: dict[int, int] = {}
        """By partition: the first offset that is in no segment yet."""

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError, or Unavailable when there is no such topic."""
        self._producer = AIOKafkaProducer(
            **self._kafka.aiokafka(), enable_idempotence=True, acks="all", max_request_size=2 * 1024 * 1024
        )
        await self._producer.start()
        await self._source.start()
        await self._source.begin()
        self._decode = decoder(self._records)

    async def stop(self) -> None:
        """Waits for what was sent, then disconnects."""
        if self._producer is not None:
            await self._producer.stop()
        await self._source.stop()

    async def starts(self, known: Mapping[TP, Known]) -> Offsets:
        """Where the group has committed, else at the beginning; writes first which topic it is, and its size.

        Raises TopicRecreated when the topic ends before what was read of it, Unavailable when it is not there.
        """
        for tp, kafka in known.items():
            if kafka.committed is not None and kafka.committed > kafka.end:
                raise TopicRecreated(
                    tp.topic,
                    f"partition {tp.partition} ends at offset {kafka.end}, but was read up to {kafka.committed}",
                )
        self._idle.start_anew()
        facts = await self._source.begin()
        async with self._order:
            await self._send(PartitionSet(len(facts.leaders), facts.topic_id).encode())
            # Where retention was quicker than we, the window sees the hole and stops.
            starts = {tp: max(kafka.committed or 0, kafka.earliest) for tp, kafka in known.items()}
            self._next = {tp.partition: offset for tp, offset in starts.items()}
        return starts

    async def take(self, batch: Batch) -> None:
        """One fetch: dead letters first, then its segments, then the hint to commit. Raises TopicRecreated."""
        async with self._order:
            await self._take(batch)

    async def watch(self) -> None:
        """Notices that the topic is gone or another one, and partitions that are idle."""
        while True:
            await asyncio.sleep(self._every)
            await self._source.check()
            if self._idle_after and self._next:
                await self.mark_idle()

    def revoked(self) -> None:
        """Nothing is read until the next assignment."""
        self._next = {}
        self._idle.start_anew()

    async def _take(self, batch: Batch) -> None:
        await self._source.check()
        decoded = self._decode(
            [record.value for record in batch.records],
            [record.offset for record in batch.records],
            [record.timestamp for record in batch.records],
            [record.headers for record in batch.records] if self._records.reads_headers() else None,
        )
        if decoded.bad:
            await self._bury(batch, decoded.bad)
            metrics.refused(row.reason for row in decoded.bad)
            self._refusals.tell(batch.topic, batch.partition, decoded.bad)
        whole = Segment(
            batch.partition,
            batch.first_offset,
            batch.next_offset,
            decoded.offsets,
            decoded.interactions,
            decoded.marks,
        )
        for segment in whole.split():
            await self._send_segment(segment)
        metrics.collected(batch.partition, len(batch.records), decoded)
        self.hints[TP(batch.topic, batch.partition)] = batch.next_offset
        if batch.partition in self._next:  # else it was taken away meanwhile
            self._next[batch.partition] = batch.next_offset

    async def mark_idle(self) -> None:
        """One look: asks where our partitions end, and marks those that have ended where we are for long enough."""
        asked, partitions = self._clock(), list(self._next)
        try:
            ends = await self._source.ends(partitions)
        except KafkaError:
            self._idle.start_anew()
            return
        at_end = {n for n, end in ends.items() if end.stable == end.high == self._next.get(n)}
        for partition in self._idle.answered(asked, self._clock(), at_end, ends.keys() - at_end):
            async with self._order:
                if self._next.get(partition) == ends[partition].high:  # no batch came while we waited for our turn
                    await self._send(IdleMark(partition, ends[partition].high).encode())

    async def _bury(self, batch: Batch, bad: Sequence[BadRow]) -> None:
        """Returns when Kafka has a dead letter for each of them."""
        came, sent = {record.offset: record for record in batch.records}, []
        for row in bad:
            origin, record = Origin(batch.topic, batch.partition, row.offset), came[row.offset]
            letter = DeadLetter.of(
                origin,
                record.timestamp,
                row.value,
                row.reason,
                row.field,
                record.headers,
                row.text,
                record_key=record.key,
            )
            sent.append(await self._sender.send(self._topics.dead_letters, letter.encode(), letter.key, partition=0))
        await asyncio.gather(*sent)

    async def _send_segment(self, segment: Segment) -> None:
        message, rows = segment.encode(), len(segment.offsets)
        await self._send(message)
        metrics.segment_sent(len(message))
        at = {"partition": segment.partition, "first": segment.first_offset, "next": segment.next_offset}
        event("segment-sent", "debug", **at, rows=rows, bytes=len(message))

    async def _send(self, message: bytes) -> None:
        await self._sender.send_and_wait(self._topics.segments, message, partition=0)

    @property
    def _sender(self) -> AIOKafkaProducer:
        assert self._producer is not None, "start comes first"
        return self._producer

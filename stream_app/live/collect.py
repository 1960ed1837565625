"""The collect stage: fetches of the interactions topic become segments; what is no interaction becomes a dead letter.

Rules, each of which keeps "nothing lost, nothing twice":

1. A segment covers a whole fetch, also where it holds no valid row, and each of these waits until Kafka has it before
   the next is sent: no segment can overtake another.
2. Dead letters are on their topic before the segment that covers them; their key says where they came from, so that one
   sent twice after a crash is seen to be the same.
3. Kafka's committed offset follows behind. It may be stale, never ahead: then fetches are repeated, and the window cuts
   what it has. Nothing else is kept, so that any number of collectors may come and go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaProducer
from faust.types import TP

from stream_app.broker import KafkaSettings
from stream_app.errors import StopTheLine
from stream_app.events.dead_letter import DeadLetter, Origin
from stream_app.events.record import BadRow, RecordSettings
from stream_app.events.segment import PartitionSet, Segment
from stream_app.formats.messages import decoder
from stream_app.live import metrics
from stream_app.live.refusals import Refusals
from stream_app.live.topics import TopicSettings
from stream_app.live.transport import Batch, Known, Offsets
from stream_app.telemetry import event


class Collect:
    """The stage that reads interactions and writes segments and dead letters; it holds no state."""

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings, records: RecordSettings) -> None:
        self.topic = topics.interactions
        self.hints: dict[TP, int] = {}
        self._kafka, self._topics, self._records = kafka, topics, records
        self._producer: AIOKafkaProducer | None = None
        self._refusals = Refusals()

    async def start(self) -> None:
        """Connects the producer. Raises KafkaConnectionError."""
        self._producer = AIOKafkaProducer(
            **self._kafka.aiokafka(), enable_idempotence=True, acks="all", max_request_size=2 * 1024 * 1024
        )
        await self._producer.start()
        self._decode = decoder(self._records)

    async def stop(self) -> None:
        """Waits for what was sent, then disconnects."""
        if self._producer is not None:
            await self._producer.stop()

    async def starts(self, known: Mapping[TP, Known]) -> Offsets:
        """Where the group has committed, else at the beginning; writes first how many partitions there are.

        Raises StopTheLine when the topic ends before what was read of it.
        """
        for tp, kafka in known.items():
            if kafka.committed is not None and kafka.committed > kafka.end:
                raise StopTheLine(
                    f"topic {tp.topic} partition {tp.partition} ends at offset {kafka.end}, but was read up to "
                    f"{kafka.committed}: it was deleted and made again; start over with --new-run"
                )
        await self._send(PartitionSet(await self._partitions()).encode())
        # Where retention was quicker than we, the window sees the hole and stops.
        return {tp: max(kafka.committed or 0, kafka.earliest) for tp, kafka in known.items()}

    async def take(self, batch: Batch) -> None:
        """One fetch: dead letters first, then its segments, then the hint to commit."""
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
        metrics.collected(batch.partition, len(batch.records), len(decoded.offsets), decoded.tombstones)
        self.hints[TP(batch.topic, batch.partition)] = batch.next_offset

    def revoked(self) -> None:
        """Nothing is held."""

    async def _partitions(self) -> int:
        """How many partitions the topic has now: what the client remembers may be minutes old."""
        await self._sender.partitions_for(self.topic)  # from here on the client asks for this topic
        await self._sender.client.force_metadata_update()
        return len(await self._sender.partitions_for(self.topic))

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

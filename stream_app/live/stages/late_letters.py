"""Late rows on their way from the journal to the dead-letter topic, where `periods.late` is "dead-letter"."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from aiokafka import AIOKafkaProducer

from stream_app.broker import KafkaSettings
from stream_app.errors import SettingsError
from stream_app.events.dead_letter import LATE, DeadLetter, Origin
from stream_app.events.record import RecordSettings
from stream_app.formats.encode import Encoder, plain
from stream_app.live.cluster.topics import TopicSettings
from stream_app.live.seeing import metrics
from stream_app.store.late_outbox import ALONE, LateRows
from stream_app.telemetry import event, listed

_UNKNOWN = -1  # Kafka's own value for "no timestamp"
_MILLISECOND = 1_000


class LateLetters:
    """Writes a dead letter for each late row, keyed by its origin: one that is sent again is seen to be the same."""

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings, records: RecordSettings) -> None:
        self._kafka, self._topics, self._records = kafka, topics, records
        self._encoder = _encoder(records)
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connects the producer. Raises KafkaConnectionError."""
        self._producer = AIOKafkaProducer(**self._kafka.aiokafka(), enable_idempotence=True, acks="all")
        await self._producer.start()

    async def stop(self) -> None:
        """Waits for what was sent, then disconnects."""
        if self._producer is not None:
            await self._producer.stop()

    async def send(self, parts: Sequence[LateRows]) -> None:
        """Returns when Kafka has a letter for each of these rows. Raises KafkaErrors."""
        assert self._producer is not None, "start comes first"
        sent = []
        for letter in (letter for part in parts for letter in self.letters(part)):
            sent.append(await self._producer.send(self._topics.dead_letters, letter.encode(), letter.key, partition=0))
        await asyncio.gather(*sent)
        metrics.refused(LATE for _ in sent)
        event("late-letters", rows=len(sent), partitions=listed(part.partition for part in parts))

    def letters(self, late: LateRows) -> Iterator[DeadLetter]:
        """The letters of these rows: each holds its interaction as the record settings write it.

        What its message's Kafka timestamp was is known only where that is the event time.
        """
        stamped = self._records.time_from == "kafka"
        columns = (late.offsets.tolist(), late.numbers.tolist(), late.rows.times.tolist())
        for offset, number, time, message in zip(*columns, self._encoder.messages(late.rows), strict=True):
            row = None if number == ALONE else number
            origin = Origin(self._topics.interactions, late.partition, offset, row)
            timestamp = time // _MILLISECOND if stamped else _UNKNOWN
            yield DeadLetter.of(origin, timestamp, message, LATE, self._records.time)


def _encoder(records: RecordSettings) -> Encoder:
    """Messages that nobody here can write stand in their letters as JSON: to be read, not to be sent again."""
    try:
        encoder = Encoder(records)
        if records.positive_when:
            encoder.check_labels()
    except SettingsError:
        return plain(records)
    return encoder

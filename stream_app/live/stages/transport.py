"""A Faust transport that hands an agent whole fetches, each as one `Batch`, and says exactly what each one covers.

Plain Faust spends 140 us on every record; this way an agent runs at 0.8-1.1 of a bare aiokafka loop (measured), and
rebalance, signals and agents stay Faust's. Rules:

1. A batch covers `[first_offset, next_offset)` of one partition without a hole: first is where the fetch began, not the
   offset of its first record, since logs have holes (transactions, compaction). Where only such a hole was read, a
   batch without records says so.
2. Reading starts where the application says (`Transport.starts`), asked after every assignment, never where Kafka's
   reset policy would. Until then nothing that was fetched is handed on.
3. Only committed transactions are read.
4. Who has a partition keeps it when others join (sticky assignment): a stand-by must not take over just by starting.

Private names that it stands on, each guarded by a test (hence `faust-streaming~=0.15.3`): of Faust's consumer
`_getmany`, `_seek`, `_commit`, `_committed_offset`, `_new_consumer_thread`; of its thread `_create_worker_consumer`,
`_fetch_records`, `_ensure_consumer`; of aiokafka's consumer `_isolation_level`, `_partition_assignment_strategy`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar, NamedTuple, cast

import faust
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

Offsets = Mapping[TP, int]


@dataclass(frozen=True)
class Batch:
    """One fetch of one partition. To Faust it looks like a single record at the offset of its last.

    records: aiokafka's ConsumerRecords (offset, timestamp in ms, key, value), by offset; possibly none.
    """

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    records: Sequence[Any]

    timestamp: ClassVar[None] = None
    timestamp_type: ClassVar[int] = 0
    headers: ClassVar[tuple[()]] = ()
    key: ClassVar[None] = None
    checksum: ClassVar[None] = None
    serialized_key_size: ClassVar[int] = 0

    @property
    def offset(self) -> int:
        """Of the last record or hole that the batch covers."""
        return self.next_offset - 1

    @property
    def value(self) -> Batch:
        """The batch is its own value."""
        return self

    @property
    def serialized_value_size(self) -> int:
        """Counted in records: Faust only shows it in its monitor."""
        return len(self.records)


class Known(NamedTuple):
    """What Kafka says of a partition at an assignment. `committed` is a hint of the group: None if it has none."""

    committed: int | None
    earliest: int
    end: int


Starts = Callable[[Mapping[TP, Known]], Awaitable[Offsets]]
"""Called after every assignment, before anything is read: where to start each of these partitions."""


class BatchScheduler:
    """Faust's setting `ConsumerScheduler`: hands on what the consumer thread made."""

    def iterate(self, fetched: Mapping[TP, list[Batch]]) -> Iterator[tuple[TP, Batch]]:
        """The batches of one fetch, partition by partition."""
        for tp, batches in fetched.items():
            for batch in batches:
                yield tp, batch


class BatchSchema(faust.Schema[None, Batch]):
    """Gives the agent the batch as it is, undecoded."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:
        """No key: a batch has many."""

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        """The batch itself."""
        return message.value


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's thread of the Kafka client. What is underscored runs in it: a fetch and a seek never interleave."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._begins: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._partition_assignment_strategy = [StickyPartitionAssignor]
        return consumer

    async def known(self) -> dict[TP, Known]:
        """What Kafka says of every assigned partition; until `start_at` nothing is handed on any more."""
        known: dict[TP, Known] = await self.call_thread(self._known)
        return known

    async def _known(self) -> dict[TP, Known]:
        self._begins.clear()
        consumer = self._ensure_consumer()
        tps = consumer.assignment()
        if not tps:
            return {}
        committed = {tp: await consumer.committed(tp) for tp in tps}
        earliest, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        return {TP(tp.topic, tp.partition): Known(committed[tp], earliest[tp], ends[tp]) for tp in tps}

    async def start_at(self, offsets: Offsets) -> None:
        """Reads on from these offsets."""
        await self.call_thread(self._start_at, offsets)

    async def _start_at(self, offsets: Offsets) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in offsets.items():
            # It may have moved on to another worker while we asked where to start.
            if tp in consumer.assignment():
                consumer.seek(driver.ensure_aiokafka_TP(tp), offset)
                self._begins[tp] = offset

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """What is fetched from here on belongs to nobody until we know where to start again."""
        self._begins.clear()
        await super().on_partitions_revoked(revoked)

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> dict[TP, list[Any]]:
        try:
            records = await super()._fetch_records(
                consumer, active_partitions, timeout=timeout, max_records=max_records
            )
        except NoOffsetForPartitionError as error:
            # A fetch between an assignment and our seek: nothing is lost, since nothing was to be read there yet.
            if error.args[0] in self._begins:
                raise
            records = {}
        fetched: dict[TP, list[Any]] = {}
        for tp, begin in list(self._begins.items()):
            if tp in active_partitions and tp in consumer.assignment():
                end = await consumer.position(driver.ensure_aiokafka_TP(tp))
                if end > begin:
                    fetched[tp] = [Batch(tp.topic, tp.partition, begin, end, records.get(tp, ()))]
                    self._begins[tp] = end
        return fetched


class Consumer(driver.Consumer):
    """Faust's consumer with our start, our batches, and a queue that holds back the fetching when it is full."""

    linger = 0.1
    """Seconds to wait after a small fetch: a slow stream comes in batches too (measured: 22 % of a core -> 4 %)."""
    small = 2000
    """Records below which a fetch is small."""

    _thread: ConsumerThread
    _not_before = 0.0

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Called by Faust after every assignment, and when a fetch came back while a rebalance was under way."""
        try:
            known = await self._thread.known()
            starts = await cast(Transport, self.transport).starts(known) if known else {}
        except Exception as error:
            # Raised, it would only be logged, and nothing would be read for ever.
            await self.app.crash(error)
            return
        for tp, offset in starts.items():
            await self.seek(tp, offset)
            self._committed_offset[tp] = offset or None

    async def _seek(self, partition: TP, offset: int) -> None:
        await self._thread.start_at({partition: offset})

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:
        if (pause := self._not_before - monotonic()) > 0:
            await asyncio.sleep(pause)
        fetched = await super()._getmany(active_partitions, timeout)
        if fetched and sum(len(batch.records) for batches in fetched.values() for batch in batches) < self.small:
            self._not_before = monotonic() + self.linger
        return fetched

    def on_buffer_full(self, tp: TP) -> None:
        """A full queue blocks the reader until there is room; Faust's way would nap for a second."""

    async def commit_next(self, offsets: Offsets) -> bool:
        """Tells Kafka where a successor may start: a hint, never the truth. False if the group has moved on."""
        return await self._commit(offsets)


class Transport(driver.Transport):
    """Set it as `app.transport`, with `starts` set, before the app starts."""

    Consumer = Consumer
    starts: Starts

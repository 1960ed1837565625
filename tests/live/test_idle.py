"""A partition is idle only when the broker says so all the time; every other silence starts the clock anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from faust.types import TP
from kafka import KafkaProducer
from live_helpers import PATIENCE, Reader, decoded, journal_of, record
from segments_by_hand import stored_periods

from stream_app.events.segment import IdleMark, SegmentsRecord
from stream_app.live.stages.collect import Collect
from stream_app.live.stages.collect_settings import CollectSettings
from stream_app.live.stages.idle import IdleClock
from stream_app.live.stages.transport import Known
from stream_app.live.worker import Role
from stream_app.live.worker_settings import WorkerSettings

Start = Callable[[WorkerSettings, Role], Any]


def test_idle_is_said_once_for_each_stretch_of_quiet() -> None:
    clock = IdleClock(after=10, silence=6)
    assert clock.answered(0, 1, {0, 1}, set()) == []
    assert clock.answered(5, 6, {0, 1}, set()) == []
    assert clock.answered(10, 10, {0}, {1}) == []  # 9 s since the first answer came
    assert clock.answered(11, 11, {0, 1}, set()) == [0]
    assert clock.answered(16, 16, {0, 1}, set()) == []
    assert clock.answered(21, 21, {0, 1}, set()) == [1]
    clock.moved([0])
    assert clock.answered(26, 26, {0, 1}, set()) == []
    assert clock.answered(32, 32, {0, 1}, set()) == []
    assert clock.answered(36, 36, {0, 1}, set()) == [0]


@pytest.mark.parametrize("trouble", ["error", "stopped"])
def test_neither_an_error_nor_a_process_that_was_stopped_is_quiet(trouble: str) -> None:
    clock = IdleClock(after=10, silence=6)
    assert clock.answered(0, 0, {0}, set()) == []
    if trouble == "error":
        assert clock.answered(5, 5, {0}, set()) == []
        clock.start_anew()  # the answer at 9 did not come
    assert clock.answered(12, 12, {0}, set()) == []  # after 12 s, not after 5
    assert clock.answered(18, 18, {0}, set()) == []
    assert clock.answered(22, 22, {0}, set()) == [0]


class Looks:
    """A collector of one partition whose clock is ours: each look is a real question to the broker."""

    def __init__(self, settings: WorkerSettings, next_offset: int = 0) -> None:
        self.now = 0.0
        self.collect = Collect(
            settings.kafka, settings.topics, settings.records, CollectSettings(idle_after=8), lambda: self.now
        )
        self._source, self._next = TP(settings.topics.interactions, 0), next_offset

    async def begin(self) -> None:
        await self.collect.start()
        await self.collect.starts({self._source: Known(None, self._next, self._next)})

    async def over(self, seconds: int) -> None:
        """Look every 2 seconds of our clock."""
        for _ in range(0, seconds, 2):
            await self.collect.mark_idle()
            self.now += 2


def marks(reader: Reader) -> list[SegmentsRecord]:
    """The idle marks that are on the segments topic now."""
    (end,) = reader.ends().values()
    return [one for one in decoded(reader.until(lambda records: len(records) == end)) if isinstance(one, IdleMark)]


@pytest.mark.broker
def test_a_quiet_partition_is_marked_once_at_its_end_and_never_while_a_transaction_is_open(
    settings: WorkerSettings, broker: str, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    topic, written = settings.topics.interactions, reader(settings.topics.segments)
    producer.send(topic, record(1, 1, 1000), partition=0).get(timeout=PATIENCE)
    transaction = KafkaProducer(bootstrap_servers=broker, transactional_id=f"test-{topic}")
    transaction.init_transactions()

    async def run() -> None:
        behind, at_end = Looks(settings), Looks(settings, next_offset=1)
        await behind.begin()
        await behind.over(20)
        assert marks(written) == []  # the row that lies there has not been read
        await at_end.begin()
        await at_end.over(8)
        assert marks(written) == []
        await at_end.over(20)
        assert marks(written) == [IdleMark(0, 1)]
        transaction.begin_transaction()
        transaction.send(topic, record(2, 1, 1000), partition=0).get(timeout=PATIENCE)
        again = Looks(settings, next_offset=1)  # for whom the partition ends where it did
        await again.begin()
        await again.over(20)
        assert marks(written) == [IdleMark(0, 1)]
        for looks in (behind, at_end, again):
            await looks.collect.stop()

    try:
        asyncio.run(run())
    finally:
        transaction.close()


@pytest.mark.broker
def test_with_idle_marks_periods_close_and_rows_that_come_later_enter_the_open_one(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    settings = replace(settings, periods=replace(settings.periods, count=10))
    topic, written = settings.topics.interactions, reader(settings.topics.segments)

    def send(partition: int, time: int) -> None:
        producer.send(topic, record(time, 1, time), partition=partition).get(timeout=PATIENCE)

    for n in range(20):
        send(0, 1000 + n)
    killed = start(settings, "collect")
    written.until(lambda records: len(records) >= 2)
    killed.kill()
    killed.join()
    start(settings, "window")
    with journal_of(settings, rows=20) as journal:
        assert stored_periods(journal) == {}  # nobody is there who could say that partitions 1 to 3 are idle
    start(replace(settings, collect=CollectSettings(idle_after=1.0)), "collect")
    written.until(lambda records: sum(isinstance(one, IdleMark) for one in decoded(records)) >= 4)
    assert set(marks(written)) == {IdleMark(0, 20), IdleMark(1, 0), IdleMark(2, 0), IdleMark(3, 0)}
    send(0, 1020)
    with journal_of(settings, rows=21) as journal:
        before = stored_periods(journal)
    assert list(before) == [1, 2]  # what is behind the newest row is final
    send(1, 1005)
    send(0, 1100)
    with journal_of(settings, rows=23) as journal:
        assert {number: rows for number, rows in stored_periods(journal).items() if number in before} == before
        assert journal.mark(1).late == 1

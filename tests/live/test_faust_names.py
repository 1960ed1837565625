"""The private names of Faust and aiokafka that our transport stands on are there, and mean what we take them for.

A failure here after an update of either is the reason for the pin: read live/transport.py before lifting it.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version

import aiokafka
import pytest
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.transport import consumer as base
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream_app.live.stages import transport


def test_the_pinned_release_is_installed() -> None:
    assert version("faust-streaming").startswith("0.15.")
    assert version("aiokafka").startswith("0.14.")


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (driver.Consumer, "_getmany", ["self", "active_partitions", "timeout"]),
        (driver.Consumer, "_seek", ["self", "partition", "offset"]),
        (driver.Consumer, "_commit", ["self", "offsets"]),
        (driver.Consumer, "_new_consumer_thread", ["self"]),
        (driver.Consumer, "perform_seek", ["self"]),
        (driver.Consumer, "on_buffer_full", ["self", "tp"]),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ["self", "transport"]),
        (
            driver.AIOKafkaConsumerThread,
            "_fetch_records",
            ["self", "consumer", "active_partitions", "timeout", "max_records"],
        ),
        (driver.AIOKafkaConsumerThread, "_ensure_consumer", ["self"]),
        (driver.AIOKafkaConsumerThread, "on_partitions_revoked", ["self", "revoked"]),
    ],
)
def test_what_we_call_or_replace_has_the_same_parameters(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_faust_hands_a_fetch_to_the_scheduler_and_asks_for_our_classes() -> None:
    assert "self.scheduler.iterate(records)" in inspect.getsource(base.Consumer.getmany)
    assert "_fetch_records" in inspect.getsource(driver.AIOKafkaConsumerThread.getmany)
    assert "perform_seek" in inspect.getsource(base.Consumer.getmany)
    assert "self._committed_offset" in inspect.getsource(base.Consumer.perform_seek)
    assert transport.Transport.Consumer is transport.Consumer


def test_aiokafka_reads_its_isolation_level_when_it_starts_and_moves_its_position_over_holes() -> None:
    assert "isolation_level=self._isolation_level" in inspect.getsource(aiokafka.AIOKafkaConsumer.start)
    assert "_update_position" in inspect.getsource(FetchResult.getall)
    assert "getall" in inspect.getsource(Fetcher.fetched_records)


def test_a_fetch_before_the_first_seek_is_no_error_and_after_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    early, started = TP("in", 0), TP("in", 1)
    found: list[Exception] = []

    async def fetch(*_: object, **__: object) -> None:
        raise found[-1]

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_fetch_records", fetch)
    thread = transport.ConsumerThread.__new__(transport.ConsumerThread)
    thread._begins = {started: 7}

    def fetched() -> object:
        return asyncio.run(thread._fetch_records(aiokafka.AIOKafkaConsumer, {early}))

    found.append(NoOffsetForPartitionError(aiokafka.TopicPartition("in", 0)))
    assert fetched() == {}
    for ending in (NoOffsetForPartitionError(aiokafka.TopicPartition("in", 1)), OffsetOutOfRangeError({early: 3})):
        found.append(ending)
        with pytest.raises(type(ending)):
            fetched()
    assert "NoOffsetForPartitionError(tp)" in inspect.getsource(Fetcher._update_fetch_positions)
    assert "del self._records[tp]" in inspect.getsource(Fetcher.seek_to)  # or an old error would end us later

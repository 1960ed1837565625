"""Fills a topic of interactions with single-record messages, as fast as a client can: batches are packed here."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
from aiokafka import AIOKafkaProducer

from models.interactions import Interactions

_IN_FLIGHT = 16


def fill(bootstrap: str, topic: str, rows: Interactions, partitions: int) -> None:
    """One msgpack map a row, keyed by user; user u goes to partition u mod `partitions`. Acknowledged on return."""
    asyncio.run(_fill(bootstrap, topic, rows, partitions))


async def _fill(bootstrap: str, topic: str, rows: Interactions, partitions: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1, max_batch_size=512 * 1024)
    await producer.start()
    try:
        for partition in range(partitions):
            await _fill_partition(producer, topic, rows.select(rows.users % partitions == partition), partition)
    finally:
        await producer.stop()


async def _fill_partition(producer: Any, topic: str, rows: Interactions, partition: int) -> None:
    batch, under_way = producer.create_batch(), []
    columns = (rows.users.tolist(), rows.items.tolist(), (rows.times // 1_000_000).tolist(), rows.labels.tolist())
    for user, item, time, label in zip(*columns, strict=True):
        value = msgpack.packb({"user_id": user, "item_id": item, "timestamp": time, "label": int(label)})
        key = str(user).encode()
        if batch.append(key=key, value=value, timestamp=None) is None:
            under_way.append(await producer.send_batch(batch, topic, partition=partition))
            if len(under_way) == _IN_FLIGHT:
                await under_way.pop(0)
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    under_way.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*under_way)

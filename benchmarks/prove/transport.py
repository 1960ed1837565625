"""Why this transport: records a second of a plain Faust agent, of our collect stage, and of a bare aiokafka loop.

All decode and check every record with msgspec; each runs in a process of its own, in turn, on the same topic of a local
broker. The clock runs from the first record to the last. The collect stage also writes its segments, acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import faust
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.local_broker import LocalBroker
from models.interactions import Interactions
from stream_app.broker import KafkaSettings
from stream_app.events.record import RecordSettings
from stream_app.formats.messages import decoder
from stream_app.live.cluster import topics as live_topics
from stream_app.live.stages import app as live_app
from stream_app.live.stages.collect import Collect
from stream_app.live.stages.transport import Batch
from stream_app.produce import produce
from stream_app.synthetic import drifting_stream

RECORDS, PLAIN_RECORDS, ROUNDS, PARTITIONS = 400_000, 30_000, 3, 4
WAYS = ("plain_faust", "bare_aiokafka", "collect")


def run() -> dict[str, Any]:
    """Medians over the rounds, and the ratios that decided."""
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker:
        rows = drifting_stream(RECORDS, 20_000, 5_000, seed=0)
        fill(broker.bootstrap, Path(name), rows)
        runs = [(way, rate_of(way, broker.bootstrap, number)) for number in range(ROUNDS) for way in WAYS]
    rounds = {way: [rate for other, rate in runs if other == way] for way in WAYS}
    rates = {
        way: {clock: round(median(one[clock] for one in rounds[way])) for clock in ("wall", "cpu")} for way in WAYS
    }
    against_faust = rates["collect"]["wall"] / rates["plain_faust"]["wall"]
    return {
        "records": RECORDS,
        "records_plain_faust": PLAIN_RECORDS,
        "records_per_second": rates,
        "collect_against_plain_faust": round(against_faust, 1),
        "collect_against_bare_aiokafka": round(rates["collect"]["wall"] / rates["bare_aiokafka"]["wall"], 2),
        "bounds": {"collect is at least 10 times a plain Faust agent": against_faust >= 10},
    }


def fill(bootstrap: str, folder: Path, rows: Interactions) -> None:
    """The topics, and the recording on the topic of interactions."""
    from deploy.demo.__main__ import write_recording

    live_topics.create(KafkaSettings(bootstrap), live_topics.TopicSettings(partitions=PARTITIONS))
    produce(write_recording(rows, folder / "rows.parquet"), KafkaSettings(bootstrap), "interactions", RecordSettings())


def rate_of(way: str, bootstrap: str, number: int) -> dict[str, float]:
    """Records a second, wall and per CPU-second, of one run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.prove.transport", way, bootstrap, str(number)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    line = next(line for line in printed.splitlines() if line.startswith("done "))
    records, wall, cpu = (float(word) for word in line.split()[1:])
    return {"wall": records / wall, "cpu": records / cpu}


class Row(msgspec.Struct):
    """One record as a plain agent would have it."""

    user_id: int
    item_id: int
    timestamp: int
    label: float


class Counter:
    """Counts records from the first on; ends the process with SIGTERM once `most` have come."""

    def __init__(self, most: int) -> None:
        self.most, self.count, self.wall, self.cpu = most, 0, 0.0, 0.0

    def first(self) -> None:
        """Called before the first record is worked on."""
        if not self.wall:
            self.wall, self.cpu = time.perf_counter(), time.process_time()

    def add(self, records: int) -> None:
        """Called when `records` more are done."""
        self.count += records
        if self.count >= self.most:
            print("done", self.count, time.perf_counter() - self.wall, time.process_time() - self.cpu, flush=True)
            os.kill(os.getpid(), signal.SIGTERM)


class CountedCollect(Collect):
    """The collect stage, counted."""

    counter = Counter(RECORDS)

    async def take(self, batch: Batch) -> None:
        """As the stage does."""
        self.counter.first()
        await super().take(batch)
        self.counter.add(len(batch.records))


def collect(bootstrap: str, number: str) -> None:
    """Our stage, as a worker runs it."""
    stage = CountedCollect(KafkaSettings(bootstrap), live_topics.TopicSettings(), RecordSettings())
    with tempfile.TemporaryDirectory() as scratch:
        live_app.run(f"collect-{number}", KafkaSettings(bootstrap), stage, Path(scratch), 0)


def plain_faust(bootstrap: str, number: str) -> None:
    """What Faust's documentation shows: one record after the other."""
    app = faust.App(f"plain-{number}", broker=f"aiokafka://{bootstrap}", store="memory://", web_enabled=False)
    app.conf.topic_disable_leader = True
    topic = app.topic("interactions", value_serializer="raw", key_serializer="raw")
    counter, decode = Counter(PLAIN_RECORDS), msgspec.msgpack.Decoder(Row).decode

    @app.agent(topic)
    async def each(stream: Any) -> None:
        async for event in stream.events():
            counter.first()
            decode(event.value)
            counter.add(1)

    faust.Worker(app, loglevel="error", redirect_stdouts=False).execute_from_commandline()


def bare_aiokafka(bootstrap: str, number: str) -> None:
    """The client alone, with the same decoding: the most that there is to have."""

    async def read() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        counter, decode = Counter(RECORDS), decoder(RecordSettings())
        await consumer.start()
        consumer.assign([TopicPartition("interactions", partition) for partition in range(PARTITIONS)])
        while True:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                counter.first()
                decode([r.value for r in records], [r.offset for r in records], [r.timestamp for r in records])
                counter.add(len(records))

    asyncio.run(read())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    {"collect": collect, "plain_faust": plain_faust, "bare_aiokafka": bare_aiokafka}[sys.argv[1]](*sys.argv[2:])

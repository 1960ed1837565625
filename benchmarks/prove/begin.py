"""An outage is not idleness: a broker that is down for longer than `collect.idle_after` makes no partition idle."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgpack
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.local_broker import LocalBroker
from stream_app.broker import KafkaSettings
from stream_app.events.segment import IdleMark, decode
from stream_app.live.cluster.topics import TopicSettings, create
from stream_app.telemetry import wall_clock

IDLE_AFTER, OUTAGE, PATIENCE = 5.0, 12.0, 90.0


def run() -> dict[str, Any]:
    """A collector whose partitions fall silent; its broker is taken away before they are idle, and comes back."""
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder, "kafka")) as broker:
        create(KafkaSettings(broker.bootstrap), TopicSettings())
        row = {"user_id": 1, "item_id": 1, "timestamp": 1000, "label": 1}
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
        producer.send("interactions", msgpack.packb(row), partition=0).get(timeout=PATIENCE)
        producer.close()
        collector = subprocess.Popen(_command(broker.bootstrap, folder), stdin=subprocess.PIPE)
        try:
            before = _segments(broker.bootstrap, 2)  # the set of partitions, and the row
            broker.stop()
            time.sleep(OUTAGE)
            back = wall_clock()
            broker.start()
            after = _segments(broker.bootstrap, len(before) + 4)
        finally:
            collector.kill()
            collector.wait()
    marks = [(record.timestamp / 1000 - back, decode(record.value)) for record in after]
    waited = [round(seconds, 1) for seconds, mark in marks if isinstance(mark, IdleMark)]
    bounds = {
        "no partition is idle before the outage": not any(isinstance(decode(r.value), IdleMark) for r in before),
        "each is idle once, idle_after counted from the broker's return": len(waited) == 4
        and min(waited) >= IDLE_AFTER,
    }
    return {"idle_after": IDLE_AFTER, "outage": OUTAGE, "seconds_from_return_to_mark": waited, "bounds": bounds}


def _command(bootstrap: str, folder: str) -> list[str]:
    settings = {"kafka.bootstrap": bootstrap, "state_directory": f"{folder}/state", "collect.idle_after": IDLE_AFTER}
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "stream_app.cli", "worker", "--child", "collect", *pairs]


def _segments(bootstrap: str, count: int) -> list[Any]:
    """What is on the segments topic once it has `count` records."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(TopicSettings().segments, 0)])
    found: list[Any] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=100).values():
            found.extend(records)
    consumer.close()
    return found

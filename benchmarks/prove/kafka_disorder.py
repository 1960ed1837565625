"""yelp2019 through a real broker by producers that misbehave within the rules: every version's content is the replay's.

1. Disorder: within a partition rows come up to `lateness` behind a later one.
2. A fifth partition stays empty and is never ended: only idle marks let anything close.
3. All rows of one partition are sent 10 s after those of the others.
4. Every producer is transactional; every third transaction holds rows that are in no recording, and is aborted.
5. Two collectors share the partitions.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow.parquet as parquet
from kafka import KafkaProducer

from benchmarks.local_broker import LocalBroker
from benchmarks.machine import recordings
from benchmarks.prove.kafka_equals_replay import LIMIT, PERIODS, PRETRAIN, SETTINGS, asmg, command, plain_client
from models.randomness import rng

LATENESS = 60
PARTITIONS, BEHIND = 4, 3
BEHIND_SECONDS = 10.0
IDLE_AFTER = 20.0
TRANSACTION_ROWS = 5_000
TOPIC = "interactions"
Row = tuple[int, int, int, int]


def run() -> dict[str, Any]:
    """Replay in order, then through Kafka in disorder, then the plain client's verdict."""
    recording = recordings() / "yelp2019.parquet"
    count = parquet.read_metadata(recording).num_rows // PERIODS
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker:
        folder = Path(name)
        config = folder / "asmg.toml"
        text = SETTINGS.format(folder=folder, bootstrap=broker.bootstrap, count=count, pretrain=PRETRAIN)
        text = text.replace("partitions = 4", f"partitions = {PARTITIONS + 1}")
        config.write_text(f"{text}[collect]\nidle_after = {IDLE_AFTER}\n")
        asmg(config, "replay", str(recording), "--out", str(folder / "replay"))
        asmg(config, "topics", "create")
        versions = PERIODS - PRETRAIN + 1
        sent = through_kafka(config, broker.bootstrap, recording, versions)
        verdict = plain_client(broker.bootstrap, folder / "replay" / "versions", recording, count)
    return {**verdict, **sent, "bounds": {"all versions have equal content": verdict["equal_content"] == versions}}


def through_kafka(config: Path, bootstrap: str, recording: Path, versions: int) -> dict[str, int]:
    """Send everything to a worker and wait for its versions; how many rows were sent, and aborted."""
    with (config.parent / "worker.log").open("w") as log:
        worker = subprocess.Popen(command(config, "worker"), stdout=log, stderr=log)
        try:
            sent = send_all(bootstrap, recording)
            subprocess.run(command(config, "subscribe", "--until", str(versions)), check=True, timeout=LIMIT)
            return sent
        finally:
            worker.terminate()
            worker.wait(timeout=30)


def send_all(bootstrap: str, recording: Path) -> dict[str, int]:
    """One producer a partition, all at the same time."""
    shares = disordered(recording)
    aborted = [0] * PARTITIONS
    behind = [sum(now < before for before, now in pairwise(times)) for times in map(_times, shares)]

    def send(partition: int) -> None:
        if partition == BEHIND:
            time.sleep(BEHIND_SECONDS)
        aborted[partition] = send_partition(bootstrap, partition, shares[partition])

    threads = [threading.Thread(target=send, args=(partition,)) for partition in range(PARTITIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"rows": sum(map(len, shares)), "rows_behind_the_one_before": sum(behind), "rows_aborted": sum(aborted)}


def disordered(recording: Path) -> list[list[Row]]:
    """The rows of each partition, by user, each moved back by less than `LATENESS` seconds of event time."""
    table = parquet.read_table(recording, columns=["user_id", "item_id", "timestamp", "label"])
    users, items, times, labels = (table[name].to_numpy() for name in table.column_names)
    order = np.argsort(times + rng(0, 0, "disorder").uniform(0, LATENESS, len(times)), kind="stable")
    shares: list[list[Row]] = [[] for _ in range(PARTITIONS)]
    for user, item, event, label in zip(*(c[order].tolist() for c in (users, items, times, labels)), strict=True):
        shares[user % PARTITIONS].append((user, item, event, int(label)))
    return shares


def send_partition(bootstrap: str, partition: int, rows: Sequence[Row]) -> int:
    """Committed transactions with the rows, every third one aborted with others, an END mark; how many were aborted."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"source-{partition}", linger_ms=5)
    producer.init_transactions()
    aborted = 0
    for number, start in enumerate(range(0, len(rows), TRANSACTION_ROWS)):
        part = rows[start : start + TRANSACTION_ROWS]
        if number % 3 == 0:
            _transaction(producer, partition, [(user + 1, item, event, 1 - label) for user, item, event, label in part])
            producer.abort_transaction()
            aborted += len(part)
        _transaction(producer, partition, part)
        producer.commit_transaction()
    producer.begin_transaction()
    producer.send(TOPIC, value=msgpack.packb({"watermark": "end"}), partition=partition)
    producer.commit_transaction()
    producer.close()
    return aborted


def _transaction(producer: KafkaProducer, partition: int, rows: Sequence[Row]) -> None:
    producer.begin_transaction()
    for user, item, event, label in rows:
        value = msgpack.packb({"user_id": user, "item_id": item, "timestamp": event, "label": label})
        producer.send(TOPIC, value=value, partition=partition)
    producer.flush(timeout=60)


def _times(rows: Sequence[Row]) -> list[int]:
    return [event for _, _, event, _ in rows]

"""The processes of the proof `big_model`: ours, and bare clients that move as many bytes with the same settings.

    python -m benchmarks.large_model ROLE BOOTSTRAP TOPIC BYTES

Each does one step for every line on stdin and answers with a line of JSON: how long it took, seconds of processor time
(all threads), and the most memory that the process has had so far beyond what it had before the first step, when
everything was imported.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.swapping_publisher import Arrays, version
from stream_app.broker import KafkaSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.manifest import Envelope
from stream_app.versions.model_version import ModelVersion

WIDTH, CHUNK, UNDER_WAY = 32, 900_000, 4
ROW_BYTES = 4 * WIDTH + 8  # its embedding and its id
Step = Callable[[int], dict[str, float]]


def timed(step: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def parameters(users: int, items: int, seed: int) -> Arrays:
    """Tables in which no two chunks are alike, made without a second copy."""
    draw = np.random.default_rng(seed)
    shapes = {"w1": (3 * WIDTH, 12), "b1": (12,), "w2": (12, 6), "b2": (6,), "w3": (6, 1), "b3": (1,)}
    drawn = {name: draw.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    for name, rows in (("user", users), ("item", items)):
        drawn[name] = table = np.empty((rows + 1, WIDTH), np.float32)
        for begin in range(0, rows + 1, 8192):
            draw.random(dtype=np.float32, out=table[begin : begin + 8192])
    return drawn


def publishing(bootstrap: str, topic: str, size: int) -> Step:
    """Makes a version, in the next step sends it and lets it go."""
    sink = KafkaSink(KafkaSettings(bootstrap), topic)
    sink.open()
    users, items = size // ROW_BYTES * 3 // 4, size // ROW_BYTES // 4
    parent, waiting = "", deque[ModelVersion]()

    def step(number: int) -> dict[str, float]:
        nonlocal parent
        if waiting:
            return {"seconds": timed(lambda: sink.write(waiting.popleft(), Envelope(model="default")))}
        arrays = parameters(users, items, number)
        begin = time.perf_counter()
        made = version(number, parent, arrays, np.arange(users) * 7 + 3, np.arange(items) * 3 + 1)
        parent = made.digest
        waiting.append(made)
        return {"seconds": time.perf_counter() - begin, "bytes": made.content.size}

    return step


def subscribing(bootstrap: str, topic: str, size: int) -> Step:
    """Begins to follow, then waits for each version in turn; says how large what is derived of it is."""
    subscriber = ModelSubscriber(SubscriberSettings(KafkaSettings(bootstrap), topic))

    def step(number: int) -> dict[str, float]:
        begin = time.perf_counter()
        model = (subscriber.__enter__() if number == 1 else subscriber).wait(600, version=number)
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "derived_bytes": sum(array.nbytes for array in model.derived.values())}

    return step


def sending(bootstrap: str, topic: str, size: int) -> Step:
    """A bare producer: the same sizes of messages, the same settings, one transaction."""
    data = memoryview(np.random.default_rng(0).bytes(size))
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"bare-{topic}", acks="all", max_block_ms=20_000
    )
    producer.init_transactions()

    def send(number: int) -> None:
        under_way = deque[Any]()
        producer.begin_transaction()
        for index, begin in enumerate(range(0, size, CHUNK)):
            if len(under_way) == UNDER_WAY:
                under_way.popleft().get(timeout=60)
            key = b"%012d/%06d/0123456789abcdef" % (number, index)
            under_way.append(producer.send(topic, key=key, value=bytes(data[begin : begin + CHUNK]), partition=0))
        for future in under_way:
            future.get(timeout=60)
        producer.commit_transaction()

    return lambda number: {"seconds": timed(lambda: send(number))}


def receiving(bootstrap: str, topic: str, size: int) -> Step:
    """A bare consumer: reads as many bytes from where it is, and keeps none."""
    settings = KafkaSettings(bootstrap).plain_reader()

    def bytes_of(consumer: Any) -> Iterator[int]:
        while True:
            for records in consumer.poll(timeout_ms=500).values():
                yield from (len(record.value) for record in records)

    lengths: list[Iterator[int]] = []

    def receive() -> None:
        if not lengths:
            consumer, partition = KafkaConsumer(**settings, max_poll_records=16), TopicPartition(topic, 0)
            consumer.assign([partition])
            consumer.seek(partition, 0)
            lengths.append(bytes_of(consumer))
        left = size
        while left > 0:
            left -= next(lengths[0])

    return lambda number: {"seconds": timed(receive)}


ROLES: dict[str, Callable[[str, str, int], Step]] = {
    "publisher": publishing,
    "subscriber": subscribing,
    "bare-producer": sending,
    "bare-consumer": receiving,
}


def memory(field: str) -> int:
    """Bytes: VmRSS, what the process has now, or VmHWM, the most that it has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    role, bootstrap, topic, size = sys.argv[1:]
    step, before = ROLES[role](bootstrap, topic, int(size)), memory("VmRSS")
    print("ready", flush=True)
    for line in sys.stdin:
        begin = time.process_time()
        told = step(int(line))
        used = {"cpu_seconds": time.process_time() - begin, "peak_bytes": memory("VmHWM") - before}
        print(json.dumps({**told, **used}), flush=True)


if __name__ == "__main__":
    main()

"""A lying publisher, 10,000 sequences; and 1 GB of chunks without a manifest, with the peak of a subscriber's memory.

1. The machines of `tests/versions/lies` (7,000 sequences unsigned, 3,000 signed), longer than in the tests, in slices
   with a seed each. They fail at the first version that was not published whole, at the first whole one that is not
   served at once, and at the first byte above the bound; the steps that are needed for it are printed.
2. Through a real broker, beside a subscriber in a process of its own that may hold 256 MB: 1 GB of chunks under the
   next number, none of which is damaged, then the next version.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.local_broker import LocalBroker

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "versions" / "lies")]

SLICES, UNSIGNED, SIGNED, STEPS = 10, 700, 300, 12
CHUNK, FLOOD = 900_000, 1_000_000_000
MAX_BYTES = 256 << 20
SPARE = 64 << 20
TOPIC = "asmg-models"

SUBSCRIBER = """
import sys, time
from pathlib import Path
from stream_app.broker import KafkaSettings
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

settings = SubscriberSettings(KafkaSettings(sys.argv[1]), sys.argv[2], max_bytes=int(sys.argv[3]))
with ModelSubscriber(settings) as subscriber:
    subscriber.wait(60, 1)
    print(memory("VmRSS"), flush=True)
    served = subscriber.wait(300, 2)
    print(served.version.digest, memory("VmHWM"), memory("VmRSS"), subscriber.health().refusals, flush=True)
"""


def run() -> dict[str, Any]:
    """Sequences, then the flood."""
    sequences, flood = _sequences(), _flood()
    return {
        "sequences": sequences,
        "flood": flood,
        "bounds": {
            "10,000 sequences: only what was published, and the next whole version at once": (
                sequences["sequences"] >= SLICES * (UNSIGNED + SIGNED)
            ),
            "the next version is served behind 1 GB of chunks of nothing": flood["served"],
            "memory at most 256 MB + 64 MB more than before": flood["peak_more"] <= MAX_BYTES + SPARE,
            "given back: at most 64 MB more than before": flood["left_more"] <= SPARE,
        },
    }


def _sequences() -> dict[str, Any]:
    from hypothesis import HealthCheck, seed, settings
    from hypothesis.stateful import run_state_machine_as_test
    from operated import Operated, Signed
    from scene import tally

    logging.getLogger("stream_app").setLevel(logging.CRITICAL)  # what is torn away on purpose
    tally.clear()
    seconds = []
    for nth in range(SLICES):
        begin = time.perf_counter()
        for machine, sequences in ((Operated, UNSIGNED), (Signed, SIGNED)):
            how = settings(
                max_examples=sequences,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )
            run_state_machine_as_test(seed(nth)(type(machine.__name__, (machine,), {})), settings=how)
        seconds.append(round(time.perf_counter() - begin, 1))
        print(f"slice {nth + 1} of {SLICES}: {seconds[-1]} s, {tally['sequences']} sequences so far", flush=True)
    happened = dict(sorted(tally.items()))
    return {"sequences": tally["sequences"], "steps_each": STEPS, "slice_seconds": seconds, "tally": happened}


def _flood() -> dict[str, Any]:
    from simulators import chain, envelope

    from stream_app.broker import KafkaSettings
    from stream_app.sinks.kafka import KafkaSink

    first, second = chain(2)
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name)) as broker:
        _make_topic(broker.bootstrap)
        sink = KafkaSink(KafkaSettings(broker.bootstrap), TOPIC)
        sink.open()
        sink.write(first, envelope())
        command = [sys.executable, "-c", SUBSCRIBER, broker.bootstrap, TOPIC, str(MAX_BYTES)]
        environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as subscriber:
            assert subscriber.stdout is not None
            before = int(subscriber.stdout.readline())
            sent = _send_chunks(broker.bootstrap)
            begin = time.perf_counter()
            sink.write(second, envelope())
            digest, peak, left, refusals = subscriber.stdout.readline().split()
            seconds = round(time.perf_counter() - begin, 1)
        sink.close()
    return {
        "bytes_of_nothing": sent,
        "max_bytes": MAX_BYTES,
        "served": digest == second.digest,
        "seconds_to_serve": seconds,
        "refusals": int(refusals),
        "before": before,
        "peak_more": int(peak) - before,
        "left_more": int(left) - before,
    }


def _make_topic(bootstrap: str) -> None:
    from kafka import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    compacted = {"cleanup.policy": "compact"}
    admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1, "configs": compacted}})
    admin.close()


def _send_chunks(bootstrap: str) -> int:
    """Chunks of version 2 that are what their keys say, and belong to nothing; returns their bytes."""
    import hashlib

    from kafka import KafkaProducer

    from stream_app.versions.messages import chunk_key

    draw, sent = np.random.default_rng(0), 0
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    while sent < FLOOD:
        value = draw.bytes(CHUNK)
        key = chunk_key(2, sent // CHUNK, hashlib.sha256(value).hexdigest())
        producer.send(TOPIC, key=key, value=value, partition=0).get(30)
        sent += len(value)
    producer.close()
    return sent

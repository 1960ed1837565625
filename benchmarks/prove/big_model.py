"""A model of 1 GB: publish, cold start and swap beside bare clients that move as many bytes; memory of our processes.

Ours and bare take turns on one broker of their own, `ROUNDS` times; the shares are of medians. The bare producer and
consumer have our settings (messages of 900 KB, no compression, acks all, a transaction, committed reads, 8 MB a fetch)
and hash nothing, check nothing and keep nothing. A version is hashed when it is made, before it is published.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from kafka import KafkaAdminClient

from benchmarks.local_broker import LocalBroker

SIZE, ROUNDS = 1_000_000_000, 3
GOAL, LEEWAY = 0.7, 64 << 20
STEPS = ("publish", "cold_start", "publish_to_swap")
Told = dict[str, float]


class Process:
    """A process of `large_model`, in one of its roles."""

    def __init__(self, role: str, bootstrap: str, topic: str) -> None:
        command = [sys.executable, "-m", "benchmarks.large_model", role, bootstrap, topic, str(SIZE)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def begin(self, number: int) -> None:
        """Its next step."""
        assert self._process.stdin is not None
        print(number, file=self._process.stdin, flush=True)

    def end(self) -> Told:
        """What it says of the step."""
        told: Told = json.loads(self._line())
        return told

    def step(self, number: int) -> Told:
        """Both."""
        self.begin(number)
        return self.end()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def run() -> dict[str, Any]:
    """Rounds of ours and bare."""
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder)) as broker:
        rounds = [one_round(broker.bootstrap, number) for number in range(ROUNDS)]
    measured = {name: [round(one[name], 2) for one in rounds] for name in rounds[0]}
    middle = {name: median(values) for name, values in measured.items()}
    shares = {
        kind: {name: round(middle[f"bare_{name}_{kind}"] / middle[f"{name}_{kind}"], 2) for name in STEPS}
        for kind in ("seconds", "cpu")
    }
    size, derived = int(middle["model_bytes"]), int(middle["derived_bytes"])
    publisher, subscriber = (int(max(measured[f"{name}_peak"])) for name in ("publisher", "subscriber"))
    return {
        **{"model_bytes": size, "derived_bytes": derived, "rounds": ROUNDS, "sha256_mb_per_second": sha256_speed()},
        **{"measured": measured, "share_of_bare": shares},
        "beyond_the_models_mb": {
            "publisher": round((publisher - size) / 1e6, 1),
            "subscriber": round((subscriber - 2 * size) / 1e6, 1),
            "subscriber, what is derived apart": round((subscriber - 2 * (size + derived)) / 1e6, 1),
        },
        "bounds": {
            **{f"{name}: at least {GOAL} of the bare client": shares["seconds"][name] >= GOAL for name in STEPS},
            "publisher: at most the model and 64 MB": publisher <= size + LEEWAY,
            "subscriber: at most two models, what is derived of them, and 64 MB, over a swap": (
                subscriber <= 2 * (size + derived) + LEEWAY
            ),
        },
    }


def one_round(bootstrap: str, number: int) -> dict[str, float]:
    """Version 1 is published, read by who starts now, and replaced by version 2; ours and bare in turn."""
    with ExitStack() as stack:
        ours, bare = (stack.enter_context(topic(bootstrap, f"{name}-{number}")) for name in ("ours", "bare"))
        publisher = stack.enter_context(Process("publisher", bootstrap, ours))
        producer = stack.enter_context(Process("bare-producer", bootstrap, bare))
        made, published, sent = publisher.step(1), publisher.step(1), producer.step(1)
        subscriber = stack.enter_context(Process("subscriber", bootstrap, ours))
        started = subscriber.step(1)
        consumer = stack.enter_context(Process("bare-consumer", bootstrap, bare))
        received = consumer.step(1)
        publisher.step(2)
        again, swapped, ours_both = followed(publisher, subscriber)
        *_, bare_both = followed(producer, consumer)
    steps = {
        **{"publish": published, "bare_publish": sent, "cold_start": started, "bare_cold_start": received},
        **{"publish_to_swap": ours_both, "bare_publish_to_swap": bare_both},
    }
    return {
        **{"model_bytes": made["bytes"], "derived_bytes": swapped["derived_bytes"], "make_seconds": made["seconds"]},
        **{f"{name}_seconds": told["seconds"] for name, told in steps.items()},
        **{f"{name}_cpu": told["cpu_seconds"] for name, told in steps.items()},
        **{"publisher_peak": again["peak_bytes"], "subscriber_peak": swapped["peak_bytes"]},
    }


def followed(writer: Process, reader: Process) -> tuple[Told, Told, Told]:
    """The second step of both at once; what they say, and what it took until the reader has it."""
    reader.begin(2)
    begin = time.perf_counter()
    writer.begin(2)
    read = reader.end()
    seconds = time.perf_counter() - begin
    written = writer.end()
    return written, read, {"seconds": seconds, "cpu_seconds": written["cpu_seconds"] + read["cpu_seconds"]}


@contextmanager
def topic(bootstrap: str, name: str) -> Iterator[str]:
    """A compacted topic that is deleted in the end."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    configs = {"cleanup.policy": "compact"}
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": configs}})
    try:
        yield name
    finally:
        admin.delete_topics([name])
        admin.close()


def sha256_speed() -> int:
    """Megabytes a second of the hash alone: the floor of what making and verifying a version can take."""
    chunk = bytes(900_000)
    begin = time.perf_counter()
    for _ in range(200):
        hashlib.sha256(chunk).digest()
    return int(200 * len(chunk) / (time.perf_counter() - begin) / 1e6)

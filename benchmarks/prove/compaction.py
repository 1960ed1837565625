"""Versions are published, removed and compacted away while subscribers start: each serves the newest or says why not.

A real broker with segments of 1 MB that are closed and compacted as fast as it can; one publisher that keeps three
versions; subscribers that start at random moments, every third of them slow. Judged by digest, for each of them: what
it served was published, never went back, and at the start was no older than the newest at that time.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient

from benchmarks.local_broker import LocalBroker
from benchmarks.swapping_publisher import parameters, version
from stream_app.broker import KafkaSettings
from stream_app.errors import Unavailable, VersionRejected
from stream_app.serving.model import ServingModel
from stream_app.sinks.kafka import KafkaSink
from stream_app.sinks.kafka_reader import KafkaReader
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.manifest import Envelope

VERSIONS, SUBSCRIBERS, KEEP = 120, 24, 3
PAUSE, SLOW, PATIENCE = 0.2, 0.5, 120.0
AGGRESSIVE = {
    "cleanup.policy": "compact",
    "segment.bytes": "1048576",
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "200",
    "delete.retention.ms": "200",
}


@dataclass
class Follower:
    """What one subscriber served, in order, and what it refused; newest: the newest version when it started."""

    newest: int
    slow: bool
    served: list[tuple[int, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    said: str = ""

    def swapped(self, model: ServingModel) -> None:
        """`on_swap`."""
        self.served.append((model.version.number, model.version.digest))

    def refusal(self, error: VersionRejected) -> None:
        """`on_refusal`."""
        self.refused.append(f"{type(error).__name__}: {error}")

    def warm_up(self, model: ServingModel) -> None:
        """Takes its time, if it is a slow one: the topic goes on meanwhile."""
        time.sleep(SLOW if self.slow else 0)


def run() -> dict[str, Any]:
    """On a broker of its own."""
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder)) as broker:
        return trial(broker.bootstrap, "models", VERSIONS, SUBSCRIBERS)


def trial(bootstrap: str, topic: str, versions: int, subscribers: int) -> dict[str, Any]:
    """Publish, follow, judge."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1, "configs": AGGRESSIVE}})
    admin.close()
    published: list[str] = []
    followers: list[Follower] = []
    threads: list[threading.Thread] = []
    draw = random.Random(0)
    starts = sorted(draw.uniform(0, versions - 1) for _ in range(subscribers))
    with closing(KafkaSink(KafkaSettings(bootstrap), topic, keep=KEEP)) as sink:
        sink.open()
        for number in range(1, versions + 1):
            made = version(number, published[-1] if published else "", parameters(number))
            sink.write(made, Envelope(model="default"))
            published.append(made.digest)
            while starts and starts[0] < number:
                starts.pop(0)
                followers.append(Follower(number, slow=len(followers) % 3 == 0))
                threads.append(threading.Thread(target=follow, args=(bootstrap, topic, followers[-1], versions)))
                threads[-1].start()
            time.sleep(PAUSE)
    for thread in threads:
        thread.join()
    return judged(followers, published, left(bootstrap, topic))


def follow(bootstrap: str, topic: str, follower: Follower, last: int) -> None:
    """Until the last version is served."""
    settings = SubscriberSettings(KafkaSettings(bootstrap), topic, poll=0.1)
    subscriber = ModelSubscriber(
        settings, on_swap=follower.swapped, on_refusal=follower.refusal, warm_up=follower.warm_up
    )
    with subscriber:
        try:
            subscriber.wait(PATIENCE, version=last)
        except Unavailable as error:
            follower.said = str(error)


def left(bootstrap: str, topic: str) -> tuple[int, int]:
    """How many records there are still, and how many offsets were given out."""
    with closing(KafkaReader(KafkaSettings(bootstrap), topic)) as reader:
        first, end = reader.bounds()
        return sum(1 for _ in reader.between(first, end)), end


def judged(followers: list[Follower], published: list[str], log: tuple[int, int]) -> dict[str, Any]:
    """The verdict; see the module."""
    wrong = [s for one in followers for s in one.served if s[0] > len(published) or published[s[0] - 1] != s[1]]
    back = [
        one.served for one in followers if [number for number, _ in one.served] != sorted({n for n, _ in one.served})
    ]
    older = [one.newest for one in followers if one.served and one.served[0][0] < one.newest]
    silent = [one.newest for one in followers if not one.served or one.served[-1][0] < len(published)]
    refused = [text.split(":")[0] for one in followers for text in one.refused]
    return {
        **{"versions": len(published), "subscribers": len(followers), "kept": KEEP},
        **{"records_left": log[0], "offsets_given": log[1], "swaps": sum(len(one.served) for one in followers)},
        "refusals": {kind: refused.count(kind) for kind in sorted(set(refused))},
        "bounds": {
            "nothing is served that was not published": not wrong,
            "no subscriber goes back": not back,
            "the first version served is no older than the newest at the start": not older,
            "every subscriber serves the last version in the end": not silent,
            "compaction took most of the log": log[0] < log[1] / 4,
        },
    }

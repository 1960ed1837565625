"""What the stages count and measure, for Prometheus; `stream_app.live.seeing.observation` serves it.

1. A child of a worker that serves metrics writes into a memory-mapped file under its own name, and goes on counting
   there when it is started again: its counters never go back. Everywhere else the numbers stay in this process.
2. What is in the journal or in the store is not counted here but read from there (`status_metrics`): a count here may
   hold repeats after a crash, the durable one never does.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values

from stream_app.formats.decoded import Decoded

DIRECTORY, PROCESS = "PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROC_PROCESS"
"""Environment of a child: the folder of those files, and the name of this process in it."""

_MINUTES = (60.0, 120.0, 300.0, 600.0, 1800.0)
_AGES = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, *_MINUTES, 3600.0, 14_400.0, 86_400.0)

_NAME = os.environ.get(PROCESS, "")
_in_a_file: Callable[[Callable[[], str]], Any] = values.MultiProcessValue
values.ValueClass = _in_a_file(lambda: _NAME) if _NAME else values.MutexValue
_REGISTRY = CollectorRegistry()


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"asmg_{name}", meaning, labels, registry=_REGISTRY)


_READ = _counter("records_read", "Messages of the interactions topic; again after a crash.", "partition")
_COLLECTED = _counter("interactions_collected", "Valid interactions among them.", "partition")
_TOMBSTONES = _counter("tombstones", "Messages without a value, which say nothing.", "partition")
_FILTERED = _counter("filtered", "Messages, or rows of them, that the settings say are no interactions.", "partition")
_REFUSED = _counter("dead_letters", "Messages and late rows that went to the dead letters.", "reason")
_SEGMENTS = _counter("segments_sent", "Segments that Kafka has taken.")
_SEGMENT_BYTES = _counter("segments_sent_bytes", "Their size.")
_VERSIONS = _counter("versions_published", "Versions that this worker has put on the models topic.")
_VERSION_BYTES = _counter("versions_published_bytes", "The size of their tensors.")
_WAITS = _counter("publishing_waits", "Times that publishing had to wait for the broker.")
_STAGES = Summary("asmg_period_stage_seconds", "What a period took, by stage.", ("stage",), registry=_REGISTRY)
_EVENT_AGE = Histogram(
    "asmg_event_to_published_seconds",
    "From the last event time of a period (its end, for periods of event time) to its version on the topic.",
    buckets=_AGES,
    registry=_REGISTRY,
)
_CLOSE_AGE = Histogram(
    "asmg_close_to_published_seconds",
    "From the segment that closed a period to its version on the topic.",
    buckets=_AGES,
    registry=_REGISTRY,
)
ASSIGNED = "asmg_assigned_partitions"
"""Said by every child that has joined its consumer group; without partitions it stands by."""
_ASSIGNED = Gauge(
    ASSIGNED,
    "Partitions that Kafka has given to a process.",
    ("process",),
    registry=_REGISTRY,
    multiprocess_mode="livesum",
)


def assigned(partitions: int) -> None:
    """After every assignment of this process."""
    _ASSIGNED.labels(_NAME).set(partitions)


def collected(partition: int, records: int, decoded: Decoded) -> None:
    """After a fetch of this partition, so many records, has become segments."""
    _READ.labels(partition).inc(records)
    _COLLECTED.labels(partition).inc(len(decoded.offsets))
    _TOMBSTONES.labels(partition).inc(decoded.tombstones)
    _FILTERED.labels(partition).inc(decoded.filtered)


def refused(reasons: Iterable[str]) -> None:
    """After the dead-letter topic has letters for these reasons, one each."""
    for reason, count in Tally(reasons).items():
        _REFUSED.labels(reason).inc(count)


def segment_sent(size: int) -> None:
    """After Kafka has taken a segment of `size` bytes."""
    _SEGMENTS.inc()
    _SEGMENT_BYTES.inc(size)


def period_trained(seconds: Mapping[str, float]) -> None:
    """After a period is done; seconds: by stage."""
    for stage, spent in seconds.items():
        _STAGES.labels(stage).observe(spent)


def version_published(size: int, since_event: float, since_close: float | None) -> None:
    """After a version of `size` bytes is on its topic; seconds since its last event, and since its period closed."""
    _VERSIONS.inc()
    _VERSION_BYTES.inc(size)
    _EVENT_AGE.observe(since_event)
    if since_close is not None:
        _CLOSE_AGE.observe(since_close)


def publishing_waits() -> None:
    """Each time that the publisher finds no broker."""
    _WAITS.inc()

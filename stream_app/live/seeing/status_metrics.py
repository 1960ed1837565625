"""What lies in the state directory and at the broker as metrics, looked up when they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stream_app.errors import AsmgError
from stream_app.live.seeing.status import ANSWERS, Status
from stream_app.telemetry import event, wall_clock

FRESH = 2.0
"""Seconds for which one answer does: several scrapers cost no more than one."""

Number = float | int | None


class StatusMetrics(Collector):
    """`status`: what to show; it may raise AsmgErrors, and then only `asmg_state_readable` is there, as 0."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status, self._lock = status, threading.Lock()
        self._found: Status | None = None
        self._at = -FRESH

    def collect(self) -> Iterable[Metric]:
        """Everything; never raises for what lies on disk."""
        found = self._current()
        yield _gauge("state_readable", "Whether the state directory could be read.", [((), found is not None)])
        if found is not None:
            yield from _broker(found)
            yield from _partitions(found, wall_clock())
            yield from _periods(found)

    def _current(self) -> Status | None:
        with self._lock:
            if monotonic() - self._at >= FRESH:
                try:
                    self._found = self._status()
                except AsmgError as error:
                    event("state-not-readable", "warning", reason=str(error))
                    self._found = None
                self._at = monotonic()
            return self._found


def _broker(found: Status) -> Iterator[Metric]:
    yield _gauge("broker_up", "Whether the broker answers.", [((), found.broker == ANSWERS)])
    yield _gauge("segments_lag_offsets", "Of the segments topic, not in the journal yet.", [((), found.segments_lag)])
    yield _gauge("dead_letter_messages", "Messages on the dead-letter topic.", [((), found.dead_letters)])
    yield _gauge(
        "consumer_group_members",
        "Members of our consumer groups, and the state of those.",
        [((group.name, group.state), group.members) for group in found.groups],
        "group",
        "state",
    )


def _partitions(found: Status, now: float) -> Iterator[Metric]:
    parts = [((str(part.partition),), part) for part in found.partitions]
    times = [(label, part.watermark_seconds) for label, part in parts]
    whole = found.open_period.watermark_seconds
    yield _gauge("lag_offsets", "Not in the journal yet.", [(n, part.lag) for n, part in parts], "partition")
    said = "Event time that the partition has come to."
    yield _gauge("watermark_timestamp_seconds", said, times, "partition")
    late = [(label, None if time is None else now - time) for label, time in times]
    yield _gauge("watermark_delay_seconds", "Wall clock minus watermark.", late, "partition")
    said = "Event time that the whole stream has come to: that of its slowest partition."
    yield _gauge("stream_watermark_timestamp_seconds", said, [((), whole)])
    delay = None if whole is None else now - whole
    yield _gauge("stream_watermark_delay_seconds", "Wall clock minus that.", [((), delay)])
    rows = [(label, part.rows) for label, part in parts]
    yield _counter("rows", "Valid interactions in the journal, late ones too; each once.", rows, "partition")
    policies = [
        ((*label, policy), count)
        for label, part in parts
        for policy, count in (
            ("next-period", part.late - part.dead_lettered - part.dropped),
            ("dead-letter", part.dead_lettered),
            ("drop", part.dropped),
        )
    ]
    yield _counter("late_rows", "Those that came late, by what became of them.", policies, "partition", "policy")


def _periods(found: Status) -> Iterator[Metric]:
    version = found.version
    yield _gauge("open_period_rows", "Rows in no closed period.", [((), found.open_period.rows)])
    numbers: list[tuple[tuple[str, ...], Number]] = [
        (("open",), found.open_period.number),
        (("closed",), found.last_closed),
        (("trained",), found.last_trained),
        (("published",), version.published_period if version else 0),
    ]
    yield _gauge("period", "Number of the last period that has come so far.", numbers, "state")
    made: list[tuple[tuple[str, ...], Number]] = [
        (("made",), version.number if version else 0),
        (("published",), version.published if version else 0),
    ]
    yield _gauge("version", "Number of the last version that has come so far.", made, "state")
    serving = [((version.method,), 1)] if version and version.method else []
    yield _gauge("method", "The update method whose candidate the last version is.", serving, "method")
    yield _gauge("window_active", "Whether this worker has the window.", [((), found.window.active)])
    stage = found.trainer.stage if found.trainer.running else "stopped"
    yield _gauge("trainer_stage", "What the trainer does.", [((stage,), 1)], "stage")


def _gauge(name: str, said: str, samples: Iterable[tuple[tuple[str, ...], Number]], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"asmg_{name}", said, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def _counter(name: str, said: str, samples: Iterable[tuple[tuple[str, ...], Number]], *labels: str) -> Metric:
    family = CounterMetricFamily(f"asmg_{name}", said, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family

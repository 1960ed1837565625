"""Small things that the live tests share."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
from kafka import KafkaConsumer, TopicPartition

from stream_app.events.segment import SegmentsRecord, decode
from stream_app.live.state_directory import JOURNAL
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.journal_view import JournalView
from stream_app.versions.messages import Manifest

Asmg = Callable[..., "subprocess.Popen[str]"]
"""Starts an `asmg` command with the settings file of a test."""

PATIENCE = 60.0
"""Seconds after which a wait fails a test; it bounds a hang and promises nothing."""


def record(user: int, item: int, timestamp: int, label: int = 1) -> bytes:
    """A message as a producer writes it."""
    packed: bytes = msgpack.packb({"user_id": user, "item_id": item, "timestamp": timestamp, "label": label})
    return packed


def decoded(records: list[Any]) -> list[SegmentsRecord]:
    """The records of a segments topic."""
    return [decode(record.value) for record in records]


def manifests(records: list[Any]) -> list[Manifest]:
    """The manifests among the records of a models topic."""
    return [Manifest.unpack(one.value) for one in records if one.key.endswith(b"/manifest")]


class Reader:
    """Reads a topic from its beginning, committed records only, as a foreign client would."""

    def __init__(self, broker: str, topic: str) -> None:
        self.consumer = KafkaConsumer(
            bootstrap_servers=broker, group_id=None, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        self.partitions = [TopicPartition(topic, n) for n in sorted(self.consumer.partitions_for_topic(topic))]
        self.consumer.assign(self.partitions)
        self.consumer.seek_to_beginning(*self.partitions)
        self.records: list[Any] = []

    def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """All records once they are enough; fails the test when that does not come about."""
        deadline = time.monotonic() + PATIENCE
        while not enough(self.records):
            assert time.monotonic() < deadline, f"gave up with {len(self.records)} records"
            for records in self.consumer.poll(timeout_ms=100).values():
                self.records.extend(records)
        return self.records

    def ends(self) -> dict[int, int]:
        """The end offset of each partition."""
        return {tp.partition: end for tp, end in self.consumer.end_offsets(self.partitions).items()}

    def close(self) -> None:
        self.consumer.close()


def write_settings(path: Path, settings: WorkerSettings, rest: str) -> Path:
    """A settings file for the command line: names and addresses of `settings`, then the text `rest`."""
    names = settings.topics
    path.write_text(
        f"""
        model = "{settings.model}"
        state_directory = "{settings.state_directory}"
        collectors = {settings.collectors}
        [kafka]
        bootstrap = "{settings.kafka.bootstrap}"
        [topics]
        interactions = "{names.interactions}"
        segments = "{names.segments}"
        models = "{names.models}"
        dead_letters = "{names.dead_letters}"
        [publish]
        keep = 0
        {rest}
        """
    )
    return path


@contextmanager
def journal_of(settings: WorkerSettings, rows: int) -> Iterator[JournalView]:
    """The journal once it holds so many rows."""
    deadline = time.monotonic() + PATIENCE
    while True:
        journal = JournalView.beside(settings.state_directory / JOURNAL)
        if journal is not None:
            with journal:
                if sum(mark.rows for mark in journal.marks.values()) == rows:
                    yield journal
                    return
        assert time.monotonic() < deadline, "gave up waiting for the journal"
        time.sleep(0.1)

"""What the live tests share: topics of their own on the real broker, a producer, and processes to end or kill."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from live_helpers import Asmg, Reader, write_settings

from stream_app.broker import KafkaSettings
from stream_app.events.periods import EqualCount
from stream_app.live.cluster import topics
from stream_app.live.stages import app
from stream_app.live.worker import Role, run_role, stage_of
from stream_app.live.worker_settings import WorkerSettings


@pytest.fixture
def settings(broker: str, tmp_path: Path) -> WorkerSettings:
    """A worker of its own: state directory, consumer groups and topics (4 partitions) that no other test knows."""
    name = uuid.uuid4().hex[:8]
    names = topics.TopicSettings(f"in-{name}", f"segments-{name}", f"models-{name}", f"dead-{name}")
    kafka = KafkaSettings(broker)
    topics.create(kafka, names)
    return WorkerSettings(name, tmp_path / "state", kafka, names, periods=EqualCount(count=500, lateness=0))


@pytest.fixture
def producer(broker: str) -> Iterator[KafkaProducer]:
    """A plain kafka-python producer."""
    with_broker = KafkaProducer(bootstrap_servers=broker, linger_ms=5)
    yield with_broker
    with_broker.close()


@pytest.fixture
def start() -> Iterator[Callable[[WorkerSettings, Role], Any]]:
    """Starts a child's work as a process of its own; what still runs at the end of the test is killed."""
    started = []

    def start(settings: WorkerSettings, role: Role) -> Any:
        if role == "trainer":
            target, arguments = run_role, (settings, role)
        else:
            # What run_role does, without the 3 s that a new process takes to import torch for its settings.
            name, stage = f"asmg-{settings.model}-{role}", stage_of(settings, role)
            target, arguments = app.run, (name, settings.kafka, stage, settings.state_directory)
        process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.fixture
def reader(broker: str) -> Iterator[Callable[[str], Reader]]:
    """Makes readers that are closed at the end of the test."""
    made = []

    def make(topic: str) -> Reader:
        made.append(Reader(broker, topic))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def asmg(settings: WorkerSettings, tmp_path: Path) -> Iterator[Asmg]:
    """Starts `asmg` commands with a settings file of this test; what still runs at its end is killed."""
    learning = "pretrain = 2\npasses = 1\ninitialisations = 1"
    rest = f"[periods]\ncount = 100\nlateness = 0\n[learning]\n{learning}"
    config = write_settings(tmp_path / "asmg.toml", settings, rest)
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "stream_app.cli", *arguments, "--config", str(config)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()

"""Several workers of one model: one history on the topic, whoever is stopped, resumed, killed or behind."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from live_helpers import PATIENCE, Reader, record

from benchmarks.kill_plan import Moment
from benchmarks.whole_worker import WholeWorker, check_history, until
from stream_app.live.state_directory import STORE
from stream_app.live.training.window_status import read_window
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.view import StoreView
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.messages import Manifest

COUNT, PRETRAIN = 100, 2
BEFORE_THE_MANIFEST = Moment("trainer", "before the manifest", "before it is sent", 3, "SIGSTOP")
Start = Callable[..., WholeWorker]


@pytest.fixture
def worker(settings: WorkerSettings, tmp_path: Path) -> Iterator[Start]:
    """Starts workers of one model, each with a directory of its own; at the end all their processes are killed."""
    with ExitStack() as running:

        def start(name: str, *moments: Moment, seed: int = 0) -> WholeWorker:
            names, directory = settings.topics, tmp_path / name
            config = tmp_path / f"{name}.toml"
            config.write_text(
                f"""
                model = "{settings.model}"
                state_directory = "{directory}"
                [kafka]
                bootstrap = "{settings.kafka.bootstrap}"
                [topics]
                interactions = "{names.interactions}"
                segments = "{names.segments}"
                models = "{names.models}"
                dead_letters = "{names.dead_letters}"
                [publish]
                keep = 0
                [periods]
                count = {COUNT}
                lateness = 0
                [learning]
                seed = {seed}
                pretrain = {PRETRAIN}
                passes = 1
                initialisations = 1
                """
            )
            return running.enter_context(WholeWorker(config, directory, moments))

        yield start


def send(producer: KafkaProducer, settings: WorkerSettings, numbers: range) -> None:
    for n in numbers:
        producer.send(settings.topics.interactions, record(n % 17, n % 5, 1000 + n, n % 2), partition=n % 4)
    producer.flush(timeout=PATIENCE)


def manifests(records: list[Any]) -> list[Manifest]:
    return [Manifest.unpack(one.value) for one in records if one.key.endswith(b"/manifest")]


def up_to(topic: Reader, version: int) -> list[Manifest]:
    """The manifests on the topic once this version is there."""
    return manifests(topic.until(lambda records: len(manifests(records)) >= version))


def digests(directory: Path) -> list[str]:
    with StoreView.open(directory / STORE) as store:
        return [entry.digest for entry in store.versions()]


@pytest.mark.broker
def test_a_worker_stopped_before_its_manifest_is_replaced_comes_back_as_a_stand_by_and_takes_over_again(
    settings: WorkerSettings, worker: Start, producer: KafkaProducer, reader: Callable[[str], Reader], tmp_path: Path
) -> None:
    topic = reader(settings.topics.models)
    first = worker("first", BEFORE_THE_MANIFEST)
    until(lambda: read_window(first.directory).active, "the first worker has the window")
    second = worker("second")
    send(producer, settings, range(850))
    first.stop_itself()
    assert [one.content.version for one in up_to(topic, 2)] == [1, 2]

    # The second begins with an empty directory.
    replaced = up_to(topic, 7)
    send(producer, settings, range(850, 1150))
    assert [one.envelope.epoch > 1 for one in up_to(topic, 10)] == [False, False, *[True] * 8]
    assert digests(second.directory)[:2] == [one.digest for one in replaced[2:4]]

    first.send_signal(signal.SIGCONT)
    until(lambda: first.trainer.stage == "stand-by", "the first worker stands by")
    send(producer, settings, range(1150, 1250))
    up_to(topic, 11)
    # The second has it still, unless this machine let it be silent for longer than Kafka waits.
    both = (first, second)
    until(lambda: sum(read_window(one.directory).active for one in both) == 1, "one of them has the window")
    active, other = sorted(both, key=lambda one: not read_window(one.directory).active)
    assert [one.process.poll() for one in both] == [None, None]

    # Who stands by is behind; the content of what it makes comes from its own rows and its own learning.
    active.send_signal(signal.SIGKILL)
    send(producer, settings, range(1250, 1350))
    history = up_to(topic, 12)
    check_history(history)
    assert history[11].envelope.epoch > history[10].envelope.epoch
    until(lambda: len(digests(other.directory)) == 8, "it has noted all")
    assert digests(other.directory) == [one.digest for one in history[-8:]]
    with ModelSubscriber(SubscriberSettings(settings.kafka, settings.topics.models, settings.model)) as third:
        assert third.wait(timeout=PATIENCE, version=12).version.digest == history[-1].digest
        assert third.health().refusals == 0

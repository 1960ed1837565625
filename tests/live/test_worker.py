"""The worker as an operator has it: one command, its children, its exit codes."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from live_helpers import PATIENCE, Asmg, Reader, manifests, record

from benchmarks.whole_worker import until
from models.learning import LearningSettings
from stream_app.errors import IncompatibleState
from stream_app.events.periods import EqualCount
from stream_app.fixed import fixed_for_journal, fixed_for_store
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.training.window_status import read_window
from stream_app.live.worker import check_state
from stream_app.live.worker_settings import WorkerSettings
from stream_app.store.journal import Journal
from stream_app.store.layout import create_or_open
from stream_app.store.view import KIND, StoreView

EXAMPLE = Path(__file__).parents[2] / "deploy" / "asmg.toml"


def send(producer: KafkaProducer, settings: WorkerSettings, numbers: range) -> None:
    for n in numbers:
        producer.send(settings.topics.interactions, record(n % 17, n % 5, 1000 + n, n % 2), partition=n % 4)
    producer.flush(timeout=PATIENCE)


def published(settings: WorkerSettings, count: int) -> Callable[[list[Any]], bool]:
    def enough(records: list[Any]) -> bool:
        return len(manifests(records)) >= count

    return enough


@pytest.mark.broker
def test_ended_and_started_again_versions_go_on_where_they_were(
    settings: WorkerSettings, asmg: Asmg, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    topic = reader(settings.topics.models)
    worker = asmg("worker")
    send(producer, settings, range(450))
    topic.until(published(settings, 2))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=PATIENCE) == 0

    send(producer, settings, range(450, 850))
    asmg("worker")
    # 850 rows fill eight periods; the first goes into pretraining alone.
    found = manifests(topic.until(published(settings, 7)))
    assert [one.content.version for one in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [one.content.period.number for one in found] == [2, 3, 4, 5, 6, 7, 8]
    assert [one.content.parent for one in found[1:]] == [one.digest for one in found[:-1]]
    assert [one.content.rows.count for one in found] == [100] * 7
    with StoreView.open(settings.state_directory / STORE) as store:
        assert [entry.digest for entry in store.versions()] == [one.digest for one in found]


@pytest.mark.broker
def test_second_processes_on_a_state_directory_end_with_3_and_name_it_and_the_first_worker_goes_on(
    settings: WorkerSettings, asmg: Asmg, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    first = asmg("worker")
    until(lambda: read_window(settings.state_directory).active, "the first worker has the window")
    for second in [asmg("worker", "--child", role) for role in ("window", "trainer")]:
        assert second.wait(timeout=PATIENCE) == 3
        assert second.stderr is not None
        assert f"asmg: {settings.state_directory}: the database is open in another process" in second.stderr.read()
    assert read_window(settings.state_directory).active
    send(producer, settings, range(350))
    assert len(manifests(reader(settings.topics.models).until(published(settings, 2)))) == 2
    assert first.poll() is None


@pytest.mark.broker
def test_settings_that_do_not_fit_the_state_directory_end_the_worker_with_3_and_name_the_key_and_nothing_is_consumed(
    settings: WorkerSettings, asmg: Asmg, producer: KafkaProducer, reader: Callable[[str], Reader]
) -> None:
    producer.send(settings.topics.interactions, b"no interaction", partition=0).get(timeout=PATIENCE)
    other = EqualCount(count=50, lateness=0)
    Journal.open(settings.state_directory / JOURNAL, fixed_for_journal(settings.records, other)).close()
    worker = asmg("worker")
    _, said = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 3
    assert re.search(r"^asmg: .*periods.count was 50 .* is 100 now", said, re.MULTILINE)
    assert reader(settings.topics.dead_letters).ends() == {0: 0}
    assert reader(settings.topics.segments).ends() == {0: 0}
    group = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, group_id=f"asmg-{settings.model}-collect")
    assert group.committed(TopicPartition(settings.topics.interactions, 0)) is None
    group.close()


def test_a_learning_setting_that_does_not_fit_the_store_is_refused_and_the_store_is_only_read(tmp_path: Path) -> None:
    learning = LearningSettings(passes=1)
    settings = WorkerSettings(state_directory=tmp_path, learning=learning)
    check_state(settings)  # what is not there yet fits
    fixed = fixed_for_store(settings.records, settings.periods, learning)
    create_or_open(tmp_path / STORE, KIND, fixed).close()
    before = {file.name: file.read_bytes() for file in (tmp_path / STORE).iterdir()}
    check_state(settings)
    with pytest.raises(IncompatibleState, match=r"learning\.passes was 1 .* is 2 now"):
        check_state(replace(settings, learning=LearningSettings(passes=2)))
    assert {file.name: file.read_bytes() for file in (tmp_path / STORE).iterdir()} == before


def test_without_a_broker_the_worker_ends_with_4_and_one_message(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    command = [sys.executable, "-m", "stream_app.cli", "worker", "--set", f"kafka.bootstrap=127.0.0.1:{port}"]
    worker = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert worker.returncode == 4
    assert worker.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in worker.stderr
    assert not list(tmp_path.iterdir())


def test_the_example_settings_are_the_defaults() -> None:
    from stream_app.settings.complete import Settings
    from stream_app.settings.load import load

    text = re.sub(r"^# (?!preset|serve)(\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    written = tomllib.loads(text)
    as_written = load(Settings, {**written, "config": Path("/dev/null")})
    plain = load(Settings, {"config": Path("/dev/null")})
    assert (as_written.worker(), as_written.subscription()) == (plain.worker(), plain.subscription())

"""One process of a kind for a state directory; the others of its kind find out who has the window."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from simulators import tiny_version

from benchmarks.whole_worker import until
from stream_app.errors import StoreLocked, Unavailable
from stream_app.live import alone as alone_module
from stream_app.live.alone import alone, member_id
from stream_app.live.state_directory import STORE
from stream_app.live.training import trainer
from stream_app.live.training.window_status import confirm_window, note_window, read_window
from stream_app.live.worker import Role
from stream_app.live.worker_settings import WorkerSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.store.states import Store

Start = Callable[[WorkerSettings, Role], Any]
HOLDS = """
import sys, time
from pathlib import Path
from stream_app.live.alone import alone
with alone(Path(sys.argv[1]), "window-0"):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_second_process_of_a_kind_is_refused_and_a_killed_one_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone_module, "PATIENCE", 0.3)
    first = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"in\n"
    with pytest.raises(StoreLocked, match=str(tmp_path)), alone(tmp_path, "window-0"):
        pytest.fail("two are in")
    with alone(tmp_path, "trainer-0"):
        first.kill()
        first.communicate()
    with alone(tmp_path, "window-0"):
        pass


def test_the_window_of_a_process_that_is_gone_is_nobodys(tmp_path: Path) -> None:
    assert not read_window(tmp_path).active
    note_window(tmp_path, assigned=True)
    assert read_window(tmp_path).active
    gone = subprocess.Popen(["true"])
    gone.wait()
    path = tmp_path / "window.json"
    path.write_text(path.read_text().replace(str(os.getpid()), str(gone.pid)))
    assert read_window(tmp_path).assigned
    assert not read_window(tmp_path).active
    note_window(tmp_path, assigned=False)
    assert not read_window(tmp_path).active


@pytest.mark.broker
def test_who_joins_takes_the_window_from_nobody_and_the_broker_says_who_has_it(
    settings: WorkerSettings, start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    group = settings.kafka.our("window_group", settings.model)
    both = [replace(settings, state_directory=tmp_path / name) for name in ("one", "two")]
    # Kafka's usual assignors would give the window to the member that sorts first.
    late, early = sorted(both, key=lambda one: member_id(group, one.state_directory, 0))

    def has_window(worker: WorkerSettings) -> bool:
        try:
            confirm_window(settings.kafka, group, member_id(group, worker.state_directory, 0))
        except Unavailable:
            return False
        return True

    start(early, "window")
    until(lambda: has_window(early), "the first has the window")
    start(late, "window")
    until(lambda: members(settings, group) == 2, "the second has joined")
    until(lambda: has_window(early), "the first has it still")
    assert not has_window(late)
    until(lambda: read_window(early.state_directory).active, "its trainer may go on")
    assert not read_window(late.state_directory).active
    assert sent_by(late, caplog) == 0
    assert sent_by(early, caplog) > 0


def sent_by(worker: WorkerSettings, caplog: pytest.LogCaptureFixture) -> int:
    """How many records the models topic has once this worker's publisher has sent a version, or waits with it."""

    def tried() -> bool:
        waits = [one for one in caplog.records if one.message == "publishing-waits"]
        assert all("does not say that the window is ours" in one.asmg_fields["reason"] for one in waits)
        return bool(waits) or store.last_published == 1

    caplog.clear()
    sink = KafkaSink(worker.kafka, worker.topics.models, worker.model)
    with (
        closing(Store.open(worker.state_directory / STORE)) as store,
        closing(trainer._publisher(worker, store, "")) as publisher,
    ):
        store.commit(1, None, tiny_version())
        publisher.start()
        until(tried, "it has tried to publish")
        return len(list(sink.read()))


def members(settings: WorkerSettings, group: str) -> int:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    try:
        return len(admin.describe_groups([group])[group]["members"])
    finally:
        admin.close()

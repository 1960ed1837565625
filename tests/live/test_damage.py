"""A state directory that is damaged is made anew from the topics, and the versions go on as if nothing had been."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from live_helpers import PATIENCE, write_settings
from replay_helpers import write

from benchmarks.killed_worker import published
from benchmarks.prove.kafka_equals_replay import plain_client
from models.interactions import Interactions
from stream_app.live.state_directory import JOURNAL, STORE
from stream_app.live.worker_settings import WorkerSettings
from stream_app.produce import produce
from stream_app.replay import replay
from stream_app.settings.complete import Settings
from stream_app.settings.load import load
from stream_app.store.journal_view import JournalView
from stream_app.synthetic import drifting_stream

PERIODS, COUNT, PRETRAIN = 7, 100, 2
VERSIONS = PERIODS - PRETRAIN + 1
LEARNING = f"""
[periods]
count = {COUNT}
[window]
journal_keep = 1
[learning]
pretrain = {PRETRAIN}
passes = 1
initialisations = 1
negatives = 1
"""


class Worker:
    """`asmg worker` with the settings of this test, its rows, and what it ends with."""

    def __init__(self, settings: WorkerSettings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        config = write_settings(folder / "asmg.toml", settings, LEARNING)
        self.replay = load(Settings, {"config": config}).replay()
        self._command = [sys.executable, "-m", "stream_app.cli", "worker", "--config", str(config)]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ended in order at the end."""
        worker = subprocess.Popen(self._command)
        try:
            yield
        finally:
            worker.terminate()
            assert worker.wait(timeout=PATIENCE) == 0

    def comes_to(self, versions: int, rows: Interactions, end: bool = False) -> None:
        """Sends the rows, and waits until so many versions are published."""
        settings = self._settings
        part = write(self._folder / "part.parquet", rows)
        produce(part, settings.kafka, settings.topics.interactions, settings.records, end=end)
        published(settings, versions)

    def refused(self) -> str:
        """Started, it ends of itself with 3; what it says then."""
        ended = subprocess.run(self._command, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        assert ended.returncode == 3
        return next(line for line in ended.stderr.splitlines() if line.startswith("asmg: "))


@pytest.mark.broker
def test_a_damaged_store_and_a_journal_without_old_rows_are_made_anew_and_every_version_is_the_replays(
    settings: WorkerSettings, tmp_path: Path
) -> None:
    rows = drifting_stream(PERIODS * COUNT, users=60, items=40, seed=5)
    recording, state = write(tmp_path / "stream.parquet", rows), settings.state_directory
    worker = Worker(settings, tmp_path)
    for _ in replay(str(recording), worker.replay, tmp_path / "replay"):
        pass
    with worker.running():
        worker.comes_to(3, rows.select(slice(0, 4 * COUNT + 50)))
        worker.comes_to(4, rows.select(slice(4 * COUNT + 50, 6 * COUNT)))
    with closing(JournalView.beside(state / JOURNAL)) as journal:
        assert journal.kept_from > 1

    (state / STORE / "CURRENT").write_text("half")
    assert re.search(f"{state / STORE}: .*; move this directory away and start again", worker.refused())
    (state / STORE).rename(tmp_path / "damaged")
    said = worker.refused()
    assert re.search(f"{state / JOURNAL}: the rows of period 1 are no longer kept .*; move this directory away", said)
    (state / JOURNAL).rename(tmp_path / "trimmed")

    with worker.running():
        worker.comes_to(VERSIONS, rows.select(slice(6 * COUNT, None)), end=True)
    directory = tmp_path / "replay" / "versions"
    verdict = plain_client(settings.kafka.bootstrap, directory, recording, COUNT, settings.topics)
    assert (verdict["equal_content"], verdict["periods"]) == (VERSIONS, PERIODS)

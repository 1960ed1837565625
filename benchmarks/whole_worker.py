"""A worker with all its processes, to be stopped, continued or killed as if its machine were; and what a topic holds.

For tests and proofs in which several workers share a model.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from benchmarks.kill_plan import Moment, hits, write_plan
from stream_app.live.training.trainer_status import TrainerStatus, read_status
from stream_app.versions.messages import Manifest

ROOT = Path(__file__).parents[1]
PATIENCE = 120.0
"""Seconds after which a wait is given up; it bounds a hang and promises nothing."""


class WholeWorker:
    """`asmg worker` with settings of its own; its log is beside `config`. A context manager: it leaves nothing running.

    moments: where its processes stop themselves; see kill_plan.
    """

    def __init__(self, config: Path, directory: Path, moments: Sequence[Moment] = ()) -> None:
        self.config, self.directory = config, directory
        self.plan, self._log = config.with_suffix(".plan.jsonl"), config.with_suffix(".log")
        write_plan(self.plan, moments)
        command = [sys.executable, "-m", "benchmarks.kill_points", "--config", str(config), "worker"]
        with self._log.open("ab") as log:
            environment = os.environ | {"KILL_PLAN": str(self.plan)}
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def __enter__(self) -> WholeWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def log(self) -> str:
        """What its processes have said so far."""
        return self._log.read_text()

    @property
    def trainer(self) -> TrainerStatus:
        """What its trainer says that it does."""
        return read_status(self.directory)

    def send_signal(self, number: signal.Signals) -> None:
        """To the supervisor first, so that it does not replace the others."""
        for pid in (self.process.pid, *self._children()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop_itself(self) -> None:
        """Waits until a planned moment has come, then stops all other processes."""
        until(lambda: bool(hits(self.plan)), "the planned moment")
        self.send_signal(signal.SIGSTOP)

    def _children(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid:
                    found.append(int(folder.name))
        return found


def until(true: Callable[[], bool], what: str) -> float:
    """Waits; returns the seconds that it took. Raises TimeoutError naming what did not come about."""
    begin = time.monotonic()
    while not true():
        if time.monotonic() - begin > PATIENCE:
            raise TimeoutError(f"{PATIENCE:.0f} s have passed without this: {what}")
        time.sleep(0.1)
    return time.monotonic() - begin


def check_history(manifests: Sequence[Manifest]) -> None:
    """Returns when manifests, in the order of the topic, are one history. Raises AssertionError."""
    numbers = [manifest.content.version for manifest in manifests]
    assert numbers == list(range(1, len(numbers) + 1)), f"versions {numbers}"
    for before, after in pairwise(manifests):
        assert after.content.parent == before.digest, f"version {after.content.version} has another parent"
        assert after.envelope.epoch >= before.envelope.epoch, f"version {after.content.version} is of an older epoch"

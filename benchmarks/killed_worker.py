"""A worker under a plan of kills (kill_points), and what a recording that is sent to it meanwhile comes to.

What has hit is printed as it hits; a process that stopped itself goes on after `STOPPED` seconds.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgpack
import pyarrow.parquet as parquet
from kafka import KafkaProducer

from benchmarks.kill_plan import hits, note
from stream_app.live.state_directory import STORE
from stream_app.live.training.trainer_status import read_status
from stream_app.live.worker_settings import WorkerSettings
from stream_app.produce import produce
from stream_app.store.view import StoreView

ROOT = Path(__file__).parents[1]
STOPPED = 20.0
PATIENCE = 600.0
"""Seconds without any version after which a trial is given up."""

NO_INTERACTIONS = (b"\xc1", msgpack.packb([1, 2]), msgpack.packb({"user_id": 7}))


class KilledWorker:
    """`asmg worker` with kill points, started again when its supervisor is killed; `worker.log` is beside `config`.

    A context manager: at its end nothing of it runs. plan: the file that `kill_plan.write_plan` wrote.
    """

    def __init__(self, config: Path, plan: Path) -> None:
        self.plan = plan
        self._command = [sys.executable, "-m", "benchmarks.kill_points", "--config", str(config), "worker"]
        self._log = config.with_name("worker.log")
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watching, daemon=True)
        self.process = self._started()

    def __enter__(self) -> KilledWorker:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """Ends it in order; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=30)

    def children(self) -> dict[str, int]:
        """Process ids by the names that the supervisor gives its children."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.process.pid and "--child" in words:
                role, index = (words[words.index(name) + 1] for name in ("--child", "--index"))
                found[role if index == "0" else f"{role}-{index}"] = int(folder.name)
        return found

    def kill_supervisor(self) -> None:
        """SIGKILL; starts it again once its children have ended by themselves. Raises TimeoutError when they do not."""
        left = self.children()
        self.noted("supervisor", "SIGKILL")
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + STOPPED
        while any(Path("/proc", str(pid)).exists() for pid in left.values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"children outlive their supervisor: {left}")
            time.sleep(0.1)
        self.process = self._started()

    def stop_supervisor(self) -> None:
        """SIGSTOP for a while."""
        self.noted("supervisor", "SIGSTOP")
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        self.process.send_signal(signal.SIGCONT)

    def noted(self, process: str, what: str) -> None:
        """A line in the log of hits for what was not in the plan."""
        note(self.plan, entry=None, process=process, stage="", point="", signal=what)

    def ends(self) -> dict[str, list[int]]:
        """The exit codes of the children that the supervisor started again, in turn, by their names."""
        found: dict[str, list[int]] = {}
        for name, code in re.findall(r" child-ended child=(\S+) code=(-?\d+)", self._log.read_text(), re.MULTILINE):
            found.setdefault(name, []).append(int(code))
        return dict(sorted(found.items()))

    def _started(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"KILL_PLAN": str(self.plan)}
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def _watching(self) -> None:
        told, asleep = 0, dict[int, float]()
        while not self._over.wait(0.1):
            for hit in hits(self.plan)[told:]:
                told += 1
                print(f"{hit['process']}: {hit['signal']} {hit['stage']} {hit['point']}", flush=True)
                if hit["signal"] == "SIGSTOP" and hit["entry"] is not None:
                    asleep[hit["pid"]] = time.monotonic() + STOPPED
            for pid in [pid for pid, until in asleep.items() if time.monotonic() > until]:
                del asleep[pid]
                os.kill(pid, signal.SIGCONT)


Fault = Callable[[], None]


def send(
    settings: WorkerSettings, recording: Path, parts: int, ahead: int, faults: dict[int, Fault], folder: Path
) -> None:
    """Sends a recording in parts, before each messages that are no interactions; after part k comes its fault, if any.

    ahead: periods by which what was sent may be ahead of what is trained, when a part is a period.
    """
    table = parquet.read_table(recording)
    size = -(-len(table) // parts)
    for part in range(parts):
        until(lambda part=part: read_status(settings.state_directory).period >= part - ahead, f"period {part - ahead}")
        send_nonsense(settings)
        path = folder / "part.parquet"
        parquet.write_table(table.slice(part * size, size), path)
        produce(path, settings.kafka, settings.topics.interactions, settings.records, end=part == parts - 1)
        if part in faults:
            faults[part]()


def send_nonsense(settings: WorkerSettings) -> None:
    """Messages that are no interactions, on every partition."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap)
    for partition in producer.partitions_for(settings.topics.interactions):
        for value in NO_INTERACTIONS:
            producer.send(settings.topics.interactions, value=value, partition=partition)
    producer.flush()
    producer.close()


def published(settings: WorkerSettings, versions: int) -> None:
    """Returns once so many versions are on the topic. Raises TimeoutError."""

    def all_there() -> bool:
        with StoreView.open(settings.state_directory / STORE) as store:
            return store.last_published >= versions

    until(all_there, f"version {versions} is published")


def until(true: Callable[[], bool], what: str) -> None:
    """Waits. Raises TimeoutError naming what did not come about."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{PATIENCE:.0f} s have passed without this: {what}")
        time.sleep(0.2)

"""A worker whose disk is full, or may not be written: it ends with 3 and one message, and goes on after its remedy.

What single databases and replays do then is proved by tests (tests/test_disk.py, tests/live/test_damage.py).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

from benchmarks.killed_worker import published
from benchmarks.local_broker import LocalBroker
from benchmarks.prove.kafka_equals_replay import asmg, plain_client
from benchmarks.small_disk import small_disk, without_root_rights
from stream_app.errors import DiskRefuses
from stream_app.live.worker_settings import WorkerSettings
from stream_app.produce import produce
from stream_app.settings.complete import Settings
from stream_app.settings.load import load
from stream_app.synthetic import drifting_stream

PERIODS, COUNT, PRETRAIN = 12, 500, 2
VERSIONS = PERIODS - PRETRAIN + 1
SIZE = 2_500_000
SETTINGS = """\
state_directory = "{state}"
[kafka]
bootstrap = "{bootstrap}"
[periods]
count = {count}
[publish]
keep = 0
[learning]
pretrain = {pretrain}
passes = 2
initialisations = 1
negatives = 1
"""


def run() -> dict[str, Any]:
    """One worker, first without the right to its state directory, then with too little room in it, then with enough."""
    rows = drifting_stream(PERIODS * COUNT, users=900, items=400, seed=6)
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker:
        folder, config, recording = Path(name), Path(name, "asmg.toml"), Path(name, "stream.parquet")
        columns = {"user_id": rows.users, "item_id": rows.items, "timestamp": rows.times // 1_000_000}
        parquet.write_table(pyarrow.table(columns | {"label": rows.labels}), recording)
        with small_disk(folder / "disk", SIZE) as disk:
            state = folder / "disk" / "state"
            given = {"bootstrap": broker.bootstrap, "count": COUNT, "pretrain": PRETRAIN}
            config.write_text(SETTINGS.format(state=state, **given))
            asmg(config, "replay", str(recording), "--out", str(folder / "replay"))
            asmg(config, "topics", "create")
            settings = load(Settings, {"config": config}).worker()
            state.parent.chmod(0o555)
            denied = ended(config, without_root_rights)
            state.parent.chmod(0o755)
            produce(recording, settings.kafka, settings.topics.interactions, settings.records, end=True)
            full = ended(config)
            disk.grow()
            goes_on(config, settings)
            verdict = plain_client(broker.bootstrap, folder / "replay" / "versions", recording, COUNT)
    return {
        "denied": denied,
        "full": full,
        **verdict,
        "bounds": {
            "without rights: 3, and what to do": denied[0] == 3 and DiskRefuses.RIGHT in str(denied[1]),
            "on a full disk: 3, and what to do": full[0] == 3 and DiskRefuses.ROOM in str(full[1]),
            "afterwards all versions are the replay's": verdict["equal_content"] == VERSIONS,
        },
    }


def ended(config: Path, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """The exit code of a worker that ends of itself, and what it said last."""
    done = subprocess.run(
        command(config), stderr=subprocess.PIPE, text=True, timeout=300, check=False, preexec_fn=before
    )
    return done.returncode, done.stderr.splitlines()[-1]


def goes_on(config: Path, settings: WorkerSettings) -> None:
    """A worker that comes to the last version, and ends in order."""
    worker = subprocess.Popen(command(config), stderr=subprocess.DEVNULL)
    try:
        published(settings, VERSIONS)
    finally:
        worker.terminate()
        worker.wait(timeout=30)


def command(config: Path) -> list[str]:
    """The command line of the worker."""
    return [sys.executable, "-m", "stream_app.cli", "--config", str(config), "worker"]

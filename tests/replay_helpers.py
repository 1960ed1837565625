"""Small recordings, settings that learn them in a second, and what a plain reader sees of a replay's versions."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pyarrow
from pyarrow import parquet

from models.interactions import Interactions
from models.learning import LearningSettings
from stream_app.events.periods import EqualCount
from stream_app.replay import ReplaySettings
from stream_app.synthetic import drifting_stream

PERIODS, ROWS = 6, 150
LEARNING = LearningSettings(pretrain=2, passes=2, initialisations=2, batch=64, device="cpu")
SETTINGS = ReplaySettings(periods=EqualCount(count=ROWS), learning=LEARNING)
FLAGS = (
    *("--periods", str(PERIODS), "--pretrain", "2", "--device", "cpu"),
    *("--set", "learning.passes=2", "--set", "learning.initialisations=2", "--set", "learning.batch=64"),
)
"""The same settings for the command line."""


def stream() -> Interactions:
    """Six full periods and 5 rows more."""
    return drifting_stream(PERIODS * ROWS + 5, users=60, items=40, seed=7, explicit=True)


def write(path: Path, rows: Interactions, **columns: Any) -> Path:
    """A recording as users have them; `columns` replaces some of its columns."""
    table = {"user_id": rows.users, "item_id": rows.items, "timestamp": rows.times // 1_000_000, "label": rows.labels}
    parquet.write_table(pyarrow.table(table | columns), path)
    return path


def asmg(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=clean(environment), capture_output=True, text=True, timeout=120, check=False
    )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "stream_app.cli", *map(str, arguments)]


def clean(environment: dict[str, str]) -> dict[str, str]:
    """This process's environment without settings."""
    here = str(Path(__file__).resolve().parent.parent)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("ASMG_")}
    return plain | {"OMP_NUM_THREADS": "1", "PYTHONPATH": here} | environment


def published(out: Path) -> dict[str, tuple[str, str]]:
    """Folder -> SHA-256 of the content bytes and of the tensors, by msgpack and hashlib alone."""
    found = {}
    for folder in sorted((out / "versions").glob("[0-9]*")):
        content = msgpack.unpackb((folder / "manifest.msgpack").read_bytes())["content"]
        tensors = (folder / "model.safetensors").read_bytes()
        found[folder.name] = (hashlib.sha256(content).hexdigest(), hashlib.sha256(tensors).hexdigest())
    return found

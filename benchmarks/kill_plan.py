"""Where processes are to be killed: drawn from a seed, kept as a file, and noted when it has come about.

1. A plan is a file with a line for each `Moment`. Its log, beside it, has a line for each moment that has hit.
2. A hit is noted and synced before its signal is sent, so that the log names the stage of every kill.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

STAGES: Mapping[str, tuple[str, ...]] = {
    "collecting": ("before a message", "after a segment", "before the commit"),
    "writing rows": ("before the write", "after the write"),
    "closing": ("before the write", "after the write"),
    "pretraining": ("in a pass", "before a pass is kept", "after a pass is kept"),
    "training": ("in a period",),
    "writing a snapshot": ("between its blocks", "before it is named", "after it is named"),
    "between chunks": ("before a chunk",),
    "before the manifest": ("before it is sent",),
    "after the manifest": ("before the commit", "after the commit"),
}
"""Every stage, and the points in it."""

PROCESS = {"collecting": "collect", "writing rows": "window", "closing": "window"}
"""Who comes by a stage; all others are the trainer's."""


@dataclass(frozen=True)
class Moment:
    """`process` (as the supervisor names it) gets `signal` when it has come by a point n times since its start."""

    process: str
    stage: str
    point: str
    n: int
    signal: str = "SIGKILL"


def plan(seed: int, each: int, reach: Mapping[str, int], collectors: int = 1) -> list[Moment]:
    """`each` kills of every stage, over its points in turn; n is drawn from 1 to the stage's `reach` (default 3)."""
    draw = np.random.default_rng(seed)
    moments = []
    for stage, points in STAGES.items():
        first = int(draw.integers(len(points)))
        for k in range(first, first + each):
            process = PROCESS.get(stage, "trainer")
            if process == "collect" and (index := int(draw.integers(collectors))):
                process = f"collect-{index}"
            n = int(draw.integers(1, reach.get(stage, 3) + 1))
            moments.append(Moment(process, stage, points[k % len(points)], n))
    return moments


def read_plan(path: Path) -> list[Moment]:
    """The moments of a plan; a hit names one by its place in there."""
    return [Moment(**json.loads(line)) for line in path.read_text().splitlines()]


def write_plan(path: Path, moments: Sequence[Moment]) -> None:
    """The plan as children read it."""
    path.write_text("".join(json.dumps(asdict(moment)) + "\n" for moment in moments))


def log_of(plan: Path) -> Path:
    """Where hits are noted."""
    return plan.with_suffix(".log")


def hits(plan: Path) -> list[dict[str, Any]]:
    """What has hit so far: {time, pid, entry, process, stage, point, n, signal}, in this order."""
    path = log_of(plan)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def note(plan: Path, **hit: Any) -> None:
    """One line of the log, on disk when it returns."""
    line = json.dumps({"time": time.time(), "pid": os.getpid(), **hit}) + "\n"
    descriptor = os.open(log_of(plan), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Both README commands in a fresh clone in an empty folder, with empty pip and Maven caches, timed."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run() -> dict[str, Any]:
    """Clone what is committed, then `make demo` and `make test` there."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "asmg-stream")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {
            **os.environ,
            "PIP_CACHE_DIR": f"{folder}/pip",
            "ASMG_KAFKA_CACHE": f"{folder}/kafka",
            "MAVEN_OPTS": f"-Dmaven.repo.local={folder}/maven",
        }
        environment.pop("VIRTUAL_ENV", None)
        seconds = {target: timed(target, clone, environment) for target in ("install", "demo", "test")}
    return {
        "target_seconds": seconds,
        "bounds": {
            "make demo under 3 minutes after installation": seconds["demo"] < 180,
            "make test under 10 minutes": seconds["test"] < 600,
        },
    }


def timed(target: str, clone: Path, environment: dict[str, str]) -> float:
    """Wall seconds of `make target`; raises CalledProcessError when it fails."""
    begin = time.perf_counter()
    subprocess.run(["make", target], cwd=clone, env=environment, check=True)
    return round(time.perf_counter() - begin, 1)

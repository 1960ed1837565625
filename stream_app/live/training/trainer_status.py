"""What the trainer is doing, for whoever asks: a small file that is replaced whole."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from stream_app.live.state_directory import TRAINER
from stream_app.store.view import StoreView
from stream_app.telemetry import utc, wall_clock


@dataclass(frozen=True)
class TrainerStatus:
    """stage: what it does ("waiting", "scoring", "training" ...) since `since` (UTC); learned: how far the learning has
    come ("pretraining 4/10", "updated"); period: the last one done; version: the last one made."""

    stage: str = "not started"
    since: str = ""
    learned: str = ""
    period: int = 0
    version: int = 0
    process: int = 0

    @property
    def running(self) -> bool:
        """Whether the process that wrote this is still there (on this machine)."""
        if not self.process:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


class StatusFile:
    """The file as the trainer writes it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / TRAINER
        self._learned = read_status(directory).learned

    def stage(self, name: str, store: StoreView) -> None:
        """Says what begins now."""
        version, _ = store.head() or (0, "")
        now = utc(wall_clock())
        self._write(TrainerStatus(name, now, self._learned, store.last_period, version, os.getpid()))

    def done(self, learned: str) -> None:
        """Says, with the next stage, how far the learning has come."""
        self._learned = learned

    def _write(self, status: TrainerStatus) -> None:
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps(asdict(status)), encoding="utf-8")
        aside.replace(self._path)


def read_status(directory: Path) -> TrainerStatus:
    """What the trainer last wrote; "not started" where it never did."""
    try:
        return TrainerStatus(**json.loads((directory / TRAINER).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return TrainerStatus()

"""What lies where in a worker's state directory, and how a new run begins."""

from __future__ import annotations

import uuid
from pathlib import Path

from stream_app.telemetry import utc, wall_clock

JOURNAL = "journal"
STORE = "store"
TRAINER = "trainer.json"
_RUN = "run"


def run_of(directory: Path) -> str:
    """The name of the run that this directory holds; "" for the first, which `begin_new_run` has not named."""
    try:
        return (directory / _RUN).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def begin_new_run(directory: Path) -> Path | None:
    """Puts the state directory aside and names a new run in its place; call it while no worker runs there.

    Returns where the old state is now, None if there was none. Versions of the new run begin with 1.
    """
    aside = None
    if directory.exists():
        stamp = utc(wall_clock()).replace(":", "").replace(".", "")
        aside = directory.with_name(f"{directory.name}.before-{stamp}")
        directory.rename(aside)
    directory.mkdir(parents=True)
    (directory / _RUN).write_text(uuid.uuid4().hex, encoding="utf-8")
    return aside

"""What lies where in a worker's state directory, and how it is put aside."""

from __future__ import annotations

from pathlib import Path

from stream_app.telemetry import utc, wall_clock

JOURNAL = "journal"
STORE = "store"
TRAINER = "trainer.json"

_ASIDE = "before-"


def put_aside(directory: Path) -> Path | None:
    """Gives what is in the state directory another place; returns it, None if there was nothing.

    Beside the directory; within it where that cannot be renamed (a mount point). Call it while no worker runs there.
    """
    kept = [entry for entry in _entries(directory) if not entry.name.startswith(_ASIDE)]
    if not kept:
        return None
    stamp = utc(wall_clock()).replace(":", "").replace(".", "")
    beside = directory.with_name(f"{directory.name}.{_ASIDE}{stamp}")
    try:
        return directory.rename(beside)
    except OSError:
        within = directory / f"{_ASIDE}{stamp}"
    within.mkdir()
    # The journal last: as long as it lies there, no worker goes on with it (it belongs to the run before).
    for entry in sorted(kept, key=lambda entry: entry.name == JOURNAL):
        entry.rename(within / entry.name)
    return within


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []

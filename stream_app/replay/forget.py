"""`--new-run`: remove what a replay left, after a look at all of it; what is not ours is never removed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream_app.replay.driver import DEAD_LETTERS, JOURNAL, PICTURE, REPORT, RESULTS, STORE, VERSIONS
from stream_app.replay.recording import DIGEST
from stream_app.sinks.directory import check_removable as check_versions
from stream_app.store.removal import check_removable as check_database


def forget(out: Path) -> None:
    """Remove what a replay left in `out`, and nothing else.

    Raises IncompatibleState (something is there that no replay made), StoreLocked (one runs there): nothing is removed.
    """
    check_database(out / JOURNAL, JOURNAL, _is_of_replay)
    check_database(out / STORE, STORE)
    check_versions(out / VERSIONS)
    for name in (RESULTS, REPORT, PICTURE, DEAD_LETTERS):
        (out / name).unlink(missing_ok=True)
    # The journal last: it says of what recording the rest is, also when this is killed half-way.
    for name in (VERSIONS, STORE, JOURNAL):
        if (out / name).exists():
            shutil.rmtree(out / name)


def _is_of_replay(fixed: Mapping[str, Any]) -> bool:
    """A worker's journal has no recording; that of a backtest fixes the learning as well."""
    return DIGEST in fixed and not any(name.startswith("learning.") for name in fixed)

"""`--new-run`: remove what a backtest left, after a look at all of it; what is not ours is never removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from stream_app.backtest.study import (
    DEAD_LETTERS,
    JOURNAL,
    LOCK,
    LOG,
    PAGE,
    REPORT,
    RUN,
    SEEDS,
    STORE,
    TABLE,
    is_of_backtest,
)
from stream_app.errors import IncompatibleState
from stream_app.store.removal import check_removable

_OF_A_SEED = {STORE, LOG, RUN, f".{RUN}.part", f"{LOCK}.lock"}


def forget(out: Path) -> None:
    """Remove what a backtest left in `out`, and nothing else.

    Raises IncompatibleState (something is there that no backtest made), StoreLocked (one runs there): nothing is
    removed.
    """
    seeds = sorted((out / SEEDS).iterdir()) if (out / SEEDS).is_dir() else []
    check_removable(out / JOURNAL, JOURNAL, is_of_backtest)
    for seed in seeds:
        strangers = [seed] if not seed.is_dir() else [file for file in seed.iterdir() if file.name not in _OF_A_SEED]
        if strangers:
            raise IncompatibleState(
                f"{strangers[0]}: is nothing that a backtest makes, so --new-run removes nothing; move it away, or "
                "give another --out"
            )
        check_removable(seed / STORE, STORE)
    if (out / JOURNAL).exists():  # else a report that lies there is somebody else's
        for name in (REPORT, TABLE, PAGE, DEAD_LETTERS):
            (out / name).unlink(missing_ok=True)
    # The journal last: it says of what recording and settings the seeds are, also when this is killed half-way.
    for directory in (out / SEEDS, out / JOURNAL):
        if directory.exists():
            shutil.rmtree(directory)

"""Before a database is removed: is it one of ours, and does nobody have it open?

A damaged one, or one of other settings or another format, may go: `--new-run` is the way out of those.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from stream_app.errors import IncompatibleState, StoreCorrupted
from stream_app.store.database import Database, exists
from stream_app.store.layout import kind_of

_FILES = re.compile(
    r"CURRENT|IDENTITY|LOCK|LOG|LOG\.old\.\d+|rocksdict-config\.json"
    r"|(MANIFEST|OPTIONS)-\d+(\.dbtmp)?|\d+\.(log|sst|blob|dbtmp)"
)


def check_removable(path: Path, kind: str) -> None:
    """Return when directory `path` is not there, is empty, or is a database of that kind that no process has open.

    kind: "journal" or "store". Raises IncompatibleState naming what does not belong there, StoreLocked. Of a database
    that is not ours nothing is changed.
    """
    if not path.exists():
        return
    strangers = [path] if not path.is_dir() else [f for f in sorted(path.iterdir()) if not _FILES.fullmatch(f.name)]
    if strangers:
        raise _refused(strangers[0], "is no file of a database")
    if not any(path.iterdir()):
        return
    with suppress(StoreCorrupted):
        _check_kind(path, kind)
    with suppress(StoreCorrupted):
        Database.open(path).close()  # only a writer is told of another one


def _check_kind(path: Path, kind: str) -> None:
    if not exists(path):
        return
    database = Database.open(path, read_only=True)  # for writing would change the files of one that is not ours
    try:
        if kind_of(database) != kind and next(database.scan(b"", b"\xff"), None) is not None:
            raise _refused(path, f"is no {kind}")
    finally:
        database.close()


def _refused(path: Path, problem: str) -> IncompatibleState:
    return IncompatibleState(
        f"{path}: {problem} of asmg-stream, so --new-run removes nothing; move it away, or give another --out"
    )

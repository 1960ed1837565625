"""Before a database is removed: is it one of ours, made by whoever removes it, and does nobody have it open?

A damaged one, or one of other settings or another format, may go: `--new-run` is the way out of those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stream_app.errors import IncompatibleState, StoreCorrupted
from stream_app.store.database import Database, exists
from stream_app.store.layout import fixed_settings, kind_of

_FILES = re.compile(
    r"CURRENT|IDENTITY|LOCK|LOG|LOG\.old\.\d+|rocksdict-config\.json"
    r"|(MANIFEST|OPTIONS)-\d+(\.dbtmp)?|\d+\.(log|sst|blob|dbtmp)"
)


Made = Callable[[Mapping[str, Any]], bool]
"""Told the fixed settings of a database: whether it was made by whoever asks. A worker's is no replay's to remove."""


def check_removable(path: Path, kind: str, made: Made = lambda fixed: True) -> None:
    """Return when directory `path` is not there, is empty, or is a database of that kind that no process has open.

    kind: "journal" or "store"; made: whether the caller makes such ones. Raises IncompatibleState naming what does not
    belong there, StoreLocked. Of a database that is not ours nothing is changed.
    """
    if not path.exists():
        return
    strangers = [path] if not path.is_dir() else [f for f in sorted(path.iterdir()) if not _FILES.fullmatch(f.name)]
    if strangers:
        raise _refused(strangers[0], "is no file of a database of asmg-stream")
    if not any(path.iterdir()):
        return
    with suppress(StoreCorrupted):
        _check_kind(path, kind, made)
    with suppress(StoreCorrupted):
        Database.open(path).close()  # only a writer is told of another one


def _check_kind(path: Path, kind: str, made: Made) -> None:
    if not exists(path):
        return
    database = Database.open(path, read_only=True)  # for writing would change the files of one that is not ours
    try:
        if kind_of(database) != kind:
            if next(database.scan(b"", b"\xff"), None) is not None:
                raise _refused(path, f"is no {kind} of asmg-stream")
        elif not made(fixed_settings(database)):
            raise _refused(path, f"is a {kind} that another command of asmg-stream made")
    finally:
        database.close()


def _refused(path: Path, problem: str) -> IncompatibleState:
    return IncompatibleState(f"{path}: {problem}, so --new-run removes nothing; move it away, or give another --out")

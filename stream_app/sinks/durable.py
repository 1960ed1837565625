"""Files that must be whole after a crash: written aside, synced, then renamed; then the folder is synced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from stream_app.versions.tensors import Buffer


def write_synced(path: Path, data: Iterable[Buffer]) -> None:
    """The pieces of `data`, one after the other, are on the disk when this returns."""
    with path.open("wb") as file:
        for piece in data:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Names that appeared, went or changed in `folder` are on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(left: Path) -> None:
    """A file or folder, if it is there: what a killed writer left half-written."""
    if left.is_dir():
        shutil.rmtree(left)
    else:
        left.unlink(missing_ok=True)

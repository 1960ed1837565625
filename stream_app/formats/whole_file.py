"""A file that is there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_app.errors import BadInput


def must_be_new(out: Path) -> None:
    """Raises BadInput when something has that name already: nothing of anybody's is overwritten."""
    if out.exists():
        raise BadInput(out, "is there already", "name another file, or remove it")


@contextmanager
def named_when_whole(out: Path) -> Iterator[Path]:
    """A path beside `out` to write to; on disk as `out` when all went well, gone when not. Raises BadInput."""
    aside = out.with_name(f".{out.name}.part")
    try:
        yield aside
        _sync(aside)
        aside.rename(out)
        _sync(out.parent)
    except OSError as error:
        raise BadInput(out, f"cannot be written: {error.strerror or error}", "name another place") from error
    finally:
        aside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

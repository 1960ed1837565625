"""What all formats of recordings share: errors that name the file, the column, and the columns that there are."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from stream_app.errors import BadInput


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into BadInput."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadInput(path, "there is no such file") from error
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise BadInput(path, f"cannot be read: {str(error).splitlines()[0]}") from error


def missing_column(path: Path, part: str, name: str, there: Iterable[str]) -> BadInput:
    """The error for a column that is not there; `part` is the setting that names it."""
    remedy = f"set records.{part} to the column that holds it" if " " not in part else "records compare it with values"
    if part == "label":
        remedy += ', or to "" if every interaction is a positive one'
    if part == "categories":
        remedy += ', or to "" if there are none'
    return BadInput(path, f"has no column {name!r}; its columns are {', '.join(there)}", remedy)

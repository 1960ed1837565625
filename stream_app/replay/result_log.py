"""What is kept of each period beside the database: one line of JSON, written before the period is committed.

Rules:
1. A line is on disk before the store calls its period done; so a period that is done always has one.
2. A later line of the same period replaces the earlier one; a line of a period that is not done does not count.
3. A line that a killed process left half-written is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from stream_app.errors import StoreCorrupted

_REMEDY = "restore the file, or begin anew with --new-run"


class OfPeriod(Protocol):
    """A dataclass of plain values, one of them the number of its period."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def period(self) -> int:
        """From 1."""


Result = TypeVar("Result", bound=OfPeriod)


class ResultLog(Generic[Result]):
    """The file of results, open for appending."""

    def __init__(self, path: Path, kind: type[Result]) -> None:
        self._path = path
        self._results = _read(path, kind)
        self._file = path.open("ab")

    def put(self, result: Result) -> None:
        """On disk when it returns."""
        self._results[result.period] = result
        self._file.write(json.dumps(asdict(result), allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def done(self, last: int, closed: Iterable[int]) -> list[Result]:
        """The results up to period `last`, in order; of a journal that is made anew `closed` are few or none.

        closed: numbers of periods. Raises StoreCorrupted when one up to `last` has no result.
        """
        for number in closed:
            if number <= last and number not in self._results:
                raise StoreCorrupted(f"{self._path}: the result of period {number} is gone", _REMEDY)
        return [self._results[number] for number in sorted(self._results) if number <= last]

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


def _read(path: Path, kind: type[Result]) -> dict[int, Result]:
    """The results in the file; what follows its last whole line is cut off (rule 3)."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    try:
        parsed = [kind(**json.loads(line)) for line in data[:whole].splitlines()]
    except (ValueError, TypeError) as error:
        raise StoreCorrupted(f"{path}: {error}", _REMEDY) from error
    return {result.period: result for result in parsed}

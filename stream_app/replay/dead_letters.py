"""Rows of a recording that are no valid interactions: written down, one JSON object a line, never silently skipped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from stream_app.events.record import BadRow


class DeadLetters:
    """`<out>/dead-letters.jsonl`: {"row": number from 0, "reason", "field", "value": text or null}.

    Every replay reads its recording from the beginning, so the file is made anew; without bad rows there is none.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._file: IO[str] | None = None
        path.unlink(missing_ok=True)

    def put(self, rows: Sequence[BadRow]) -> None:
        """Write them down."""
        self._file = self._file or self.path.open("w", encoding="utf-8")
        for row in rows:
            value = None if row.value is None else row.value.decode(errors="backslashreplace")
            letter = {"row": row.offset, "reason": row.reason, "field": row.field, "value": value}
            self._file.write(json.dumps(letter) + "\n")
        self._file.flush()
        self.rows += len(rows)

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

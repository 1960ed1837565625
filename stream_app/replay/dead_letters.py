"""Rows of a recording that enter no period: written down, one JSON object a line, never silently skipped.

They are no valid interactions, or late ones where `periods.late` is "dead-letter" (reason "late").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from stream_app.events.dead_letter import LATE
from stream_app.events.record import BadRow, RecordSettings
from stream_app.formats.encode import plain
from stream_app.store.journal_view import JournalView


class DeadLetters:
    """`<out>/dead-letters.jsonl`: {"row": number from 0, "reason", "field", "value": text or null}.

    Every replay reads its recording from the beginning, so the file is made anew; without such rows there is none.
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


def late_letters(journal: JournalView, records: RecordSettings) -> Iterator[list[BadRow]]:
    """The late rows that wait in the journal, part by part, as JSON under the default names of fields.

    A replay leaves them there, so that one that goes on after a crash finds those from before as well.
    """
    encoder = plain(records)
    for _, late in journal.late_rows():
        messages = zip(late.offsets.tolist(), encoder.messages(late.rows), strict=True)
        yield [BadRow(offset, LATE, records.time, message) for offset, message in messages]

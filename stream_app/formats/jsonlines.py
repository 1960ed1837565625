"""Recordings as JSON lines: one message in JSON a line, read as messages are; watermark records may be among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar

import msgspec

from stream_app.errors import BadInput
from stream_app.events.record import RecordSettings
from stream_app.formats.columns import wanted
from stream_app.formats.decoded import Decoded
from stream_app.formats.messages import decoder
from stream_app.formats.recorded import missing_column, reading


@dataclass(frozen=True)
class JsonLines:
    """One JSON object a line, UTF-8; lines are numbered from 0, blank ones are none."""

    path: Path
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def rows(self) -> int:
        """Reads the whole file. Raises BadInput."""
        return sum(1 for _ in self._lines())

    def read(self, settings: RecordSettings, batch: int) -> Iterator[Decoded]:
        """At most `batch` lines at a time. Raises BadInput when none of the first ones is an interaction."""
        decode = decoder(replace(settings, format="json", decoder="", time_from="field"))
        numbered = enumerate(self._lines())
        first = True
        while lines := list(islice(numbered, batch)):
            values = [line for _, line in lines]
            decoded = decode(values, [number for number, _ in lines], [-1] * len(lines))
            if first and len(decoded.bad) == len(lines):
                self._explain(values[0], decoded, settings)
            first = False
            yield decoded

    def _lines(self) -> Iterator[bytes]:
        with reading(self.path), self.path.open("rb") as file:
            yield from (line for line in file if not line.isspace())

    def _explain(self, line: bytes, decoded: Decoded, settings: RecordSettings) -> None:
        """Not one good line: say what is wrong with the first."""
        reason, field = decoded.bad[0].reason, decoded.bad[0].field
        part = next((part for part, name in wanted(settings).items() if name == field), "")
        if reason == "missing-field" and part:
            raise missing_column(self.path, part, field, msgspec.json.decode(line, type=dict[str, object]))
        raise BadInput(self.path, f"its lines are no interactions: line 1 is {reason} {field}".rstrip())

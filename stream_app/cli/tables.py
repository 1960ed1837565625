"""Plain tables for a terminal or a pipe: columns under their names, one row a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stream_app.telemetry import utc

Row = dict[str, Any]

_WIDEST = 20


def table(rows: Sequence[Row], widest: int = 2 * _WIDEST) -> str:
    """The fields that hold one short value each; nested ones and long texts are for --json and `show`."""
    names = list(
        dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, dict | list | tuple))
    )
    if not rows:
        return "none yet"
    cells = [names, *([_cell(row.get(name), widest) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def in_full(row: Row) -> str:
    """Everything about one row."""
    return json.dumps(row, indent=2)


def event_time(microseconds: int) -> str:
    """Event time as text, in UTC; a number where no calendar reaches."""
    try:
        return utc(microseconds / 1_000_000)
    except (ValueError, OverflowError, OSError):
        return f"{microseconds} us"


def _cell(value: Any, widest: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if len(text) <= widest else f"{text[:_WIDEST]}..."

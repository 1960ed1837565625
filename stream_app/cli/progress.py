"""A progress bar where a terminal looks on; without one, the lines that are said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """How far something has come: `reached`, what it does now: `doing`, and lines above the bar: `say`."""

    def __init__(self, shown: Progress | None, title: str, total: int | None) -> None:
        self._shown = shown
        self._task = shown.add_task(title, total=total, doing="") if shown else None

    def reached(self, count: int, total: int | None = None) -> None:
        """`count` of the total are done; total: when it is not what it was, or known by now."""
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, completed=count, total=total)

    def doing(self, what: str) -> None:
        """What happens now; only a terminal shows it."""
        if self._shown is not None and self._task is not None:
            self._shown.update(self._task, doing=what)

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._shown is not None:
            self._shown.console.print(line, markup=False, highlight=False)
        else:
            print(line, flush=True)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Bar]:
    """A bar of `total` steps (None: unknown) on stderr, so that stdout holds what was asked for."""
    if not sys.stderr.isatty():
        yield Bar(None, title, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield Bar(shown, title, total)

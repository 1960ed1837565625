"""`asmg periods|snapshots|versions list|show`: look into a state directory, also while a worker writes it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stream_app.cli.options import Commands, all_settings, command
from stream_app.cli.tables import Row, event_time, in_full, table
from stream_app.errors import BadInput, SettingsError

if TYPE_CHECKING:
    from stream_app.events.periods import PeriodState
    from stream_app.store.journal_view import ClosedPeriod
    from stream_app.store.view import StoreView

Read = Callable[[Path], list[Row]]


def add(commands: Commands) -> None:
    """Add the groups of the other two; that of the versions has more commands (`cli/versions`)."""
    for name, read, what in (
        ("periods", periods, "update periods"),
        ("snapshots", snapshots, "kept snapshots of the learner"),
    ):
        group = commands.add_parser(name, help=f"look at the {what} in the state directory")
        actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
        add_looks(actions, read, name, what)


def add_looks(actions: Commands, read: Read, name: str, what: str) -> None:
    """Add `list` and `show` to a group."""
    listing = command(actions, "list", list_all(read), f"list the {what}")
    showing = command(actions, "show", show_one(read, name), f"show one of the {what}, in full")
    showing.add_argument("number", type=int, nargs="?", metavar="N", help="which (default: the last)")
    for action in (listing, showing):
        action.add_argument("--json", action="store_true", help="as JSON")
        action.add_argument("--state", type=Path, metavar="DIR", help="state directory, or the --out of a replay")


def list_all(read: Read) -> Callable[[argparse.Namespace], None]:
    """A command that prints everything, a line each."""

    def run(arguments: argparse.Namespace) -> None:
        rows = read(_directory(arguments))
        print(json.dumps(rows) if arguments.json else table(rows))

    return run


def show_one(read: Read, name: str) -> Callable[[argparse.Namespace], None]:
    """A command that prints one in full. Raises BadInput when there is none of that number."""

    def run(arguments: argparse.Namespace) -> None:
        directory = _directory(arguments)
        rows = read(directory)
        key = "version" if name == "versions" else "period"
        wanted = rows[-1:] if arguments.number is None else [row for row in rows if row[key] == arguments.number]
        if not wanted:
            said = "" if arguments.number is None else arguments.number
            there = ", ".join(str(row[key]) for row in rows) or "none yet"
            raise BadInput(directory, f"has no {key} {said}".rstrip(), f"there are: {there}")
        print(json.dumps(wanted[0]) if arguments.json else in_full(wanted[0]))

    return run


def periods(directory: Path) -> list[Row]:
    """Closed periods and how far each has come."""
    from stream_app.store.journal_view import JournalView
    from stream_app.store.view import StoreView

    journal = JournalView.beside(directory / "journal")
    if journal is None:
        return []
    with journal, StoreView.open(directory / "store") as store:
        closed = list(journal.periods())
        states = _states([one.period.number for one in closed], store)
        rows: list[Row] = [
            {
                "period": one.period.number,
                "state": str(states[one.period.number]),
                "rows": one.period.rows,
                "start": event_time(one.period.start),
                "end": event_time(one.period.end),
                **late,
                "offsets": {str(partition): offset for partition, offset in sorted(one.offsets.items())},
            }
            for one, late in zip(closed, _late(closed), strict=True)
        ]
        return [
            *rows,
            {
                "period": closed[-1].period.number + 1 if closed else 1,
                "state": "open",
                "rows": journal.open_period().rows,
            },
        ]


def _late(closed: Sequence[ClosedPeriod]) -> Iterator[Row]:
    """Per period: rows that came late since the one before closed, and those of them that are in no period."""
    before = dict.fromkeys(("late", "dead_lettered", "dropped"), 0)
    for period in closed:
        counted = {name: getattr(period, name) for name in before}
        yield {name: counted[name] - before[name] for name in before}
        before = counted


def _states(numbers: list[int], store: StoreView) -> dict[int, PeriodState]:
    """Of closed periods: from the end of pretraining on, each that is trained has made one version."""
    from stream_app.events.periods import PeriodState

    trained = [number for number in numbers if number <= store.last_period]
    made, _ = store.head() or (0, "")
    published = trained[len(trained) - made :][: store.last_published]
    states = dict.fromkeys(numbers, PeriodState.CLOSED) | dict.fromkeys(trained, PeriodState.TRAINED)
    return states | dict.fromkeys(published, PeriodState.PUBLISHED)


def snapshots(directory: Path) -> list[Row]:
    """Learner states that are kept."""
    from stream_app.store.view import StoreView

    with StoreView.open(directory / "store") as store:
        return [
            {"period": entry.period, "bytes": entry.bytes, "blocks": entry.blocks, "tensors and numbers": entry.leaves}
            for entry in store.snapshots()
        ]


def versions(directory: Path) -> list[Row]:
    """Model versions that are kept, published or waiting."""
    from stream_app.store.view import StoreView

    with StoreView.open(directory / "store") as store:
        return [
            {
                "version": entry.number,
                "digest": entry.digest,
                "method": entry.content.learning.get("method"),
                "published": entry.published,
                "bytes": entry.bytes,
                "histories_bytes": entry.content.histories_size,
                "late": entry.sources.late,
                **entry.content.model_dump(exclude={"format", "version", "chunks"}),
            }
            for entry in store.versions()
        ]


def _directory(arguments: argparse.Namespace) -> Path:
    directory: Path = arguments.state or all_settings(arguments).state_directory
    if not directory.is_dir():
        raise SettingsError(
            "state_directory", f"{directory} is not there", "name the one that a worker or a replay made"
        )
    return directory

"""`asmg generate OUT`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_app.cli.options import Commands, command
from stream_app.cli.progress import progress
from stream_app.errors import SettingsError

if TYPE_CHECKING:
    import pyarrow

    from stream_app.synthetic import GeneratedStream, SyntheticSettings


def add(commands: Commands) -> None:
    """Add the command."""
    added = command(
        commands,
        "generate",
        run,
        "make a recording with known drift",
        "Rows are in order of event time. Beside user_id, item_id, timestamp and label, the column probability says "
        "how likely the label 1 was, label noise included: its log loss is the floor under that of every model.",
    )
    added.set_defaults(interrupted="interrupted; nothing was written")
    added.add_argument("out", type=Path, metavar="OUT", help=".parquet, .csv or .jsonl; must not be there yet")
    for name, kind, value, meaning in (
        ("interactions", int, "N", "rows (default: 100000)"),
        ("users", int, "N", "users, half of them there from the beginning (default: 2000)"),
        ("items", int, "N", "items, likewise (default: 1000)"),
        ("days", float, "D", "event time from the first row to the last (default: 30)"),
        ("drift", str, "LIST", "sudden, gradual, recurring, several with commas, or none (default: gradual)"),
        ("strength", float, "X", "of a drift, 0 to 1: 1 leaves nothing of a preference as it was (default: 0.5)"),
        ("label-noise", float, "P", "labels turned round with this probability, below 0.5 (default: 0.05)"),
        ("seed", int, "N", "same seed, same file (default: 0)"),
    ):
        added.add_argument(f"--{name}", type=kind, metavar=value, help=meaning)
    added.add_argument(
        "--implicit",
        action="store_true",
        help="positives only; then no truth can be told, for the negatives are drawn later, by whoever learns",
    )
    added.add_argument("--categories", action="store_true", help="a column with each item's genre")


def run(arguments: argparse.Namespace) -> None:
    """Make it, then say what is in it."""
    from stream_app.formats.recording_writer import write
    from stream_app.formats.whole_file import must_be_new
    from stream_app.synthetic import generate

    settings = _settings(arguments)
    must_be_new(arguments.out)
    with progress(f"generate {arguments.out.name}", settings.interactions) as bar:
        write(arguments.out, _batches(generate(settings), bar.reached))
    kinds = " and ".join(settings.drift)
    print(
        f"{arguments.out}: {settings.interactions} interactions over {settings.days:g} days, "
        + (f"{kinds} drift of strength {settings.strength:g}" if kinds else "no drift")
        + (", positives only" if settings.implicit else f", label noise {settings.label_noise:g}")
    )
    for made, option in (
        (settings.implicit, "--negatives 1 (backtest, replay) draws the negatives"),
        (not settings.implicit, "--truth probability (backtest) shows the regret"),
        (settings.categories, "--set records.categories=categories lets a model learn from the categories"),
    ):
        if made:
            print(f"  {option}")


def _settings(arguments: argparse.Namespace) -> SyntheticSettings:
    """Raises SettingsError, naming the flag."""
    from stream_app.synthetic import SyntheticSettings

    _check_together(arguments)
    names = ("interactions", "users", "items", "days", "strength", "label_noise", "seed", "implicit", "categories")
    given: dict[str, Any] = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.drift is not None:
        given["drift"] = () if arguments.drift == "none" else tuple(arguments.drift.split(","))
    try:
        return SyntheticSettings(**given)
    except ValueError as error:
        name, _, problem = str(error).partition(": ")
        raise SettingsError(f"--{name.replace('_', '-')}", problem) from error


def _check_together(arguments: argparse.Namespace) -> None:
    """An option that would change nothing was given by mistake."""
    if arguments.implicit and arguments.label_noise is not None:
        raise SettingsError("--label-noise", "an implicit stream has no labels to turn round", "leave out one of both")
    if arguments.drift == "none" and arguments.strength is not None:
        raise SettingsError("--strength", "there is no drift with --drift none", "leave out one of both")


def _batches(parts: Iterator[GeneratedStream], told: Callable[[int], None]) -> Iterator[pyarrow.RecordBatch]:
    """The parts as columns of a file; told: how many rows have been made."""
    import pyarrow as pa

    made = 0
    for part in parts:
        rows = part.interactions
        columns = {
            "user_id": pa.array(rows.users),
            "item_id": pa.array(rows.items),
            "timestamp": pa.array(rows.times // 1_000_000),
            "label": pa.array(rows.labels.astype("int8")),
        }
        if part.probability is not None:
            columns["probability"] = pa.array(part.probability)
        if rows.categories is not None:
            columns["categories"] = pa.array(rows.categories.tolist(), pa.list_(pa.string()))
        yield pa.RecordBatch.from_pydict(columns)
        told(made := made + len(rows))

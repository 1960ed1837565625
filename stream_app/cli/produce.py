"""`asmg produce FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from stream_app.cli.options import Commands, all_settings, command
from stream_app.cli.progress import progress


def add(commands: Commands) -> None:
    """Add the command."""
    produce = command(
        commands,
        "produce",
        run,
        "send a recording to the interactions topic",
        "Keyed by user. Rows that are no valid interactions are not sent.",
    )
    produce.set_defaults(interrupted="interrupted; sent again from the start, rows would be there twice")
    produce.add_argument("file", type=Path, metavar="FILE", help="recording: .parquet, .csv or .jsonl")
    produce.add_argument("--rate", type=rate, metavar="N", help="at most N interactions a second (default: no limit)")
    produce.add_argument("--end", action="store_true", help="then say on each partition that nothing more comes")


def rate(text: str) -> float:
    """A number above 0."""
    if not (number := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def run(arguments: argparse.Namespace) -> None:
    """Send it, and say what was sent."""
    from stream_app.formats.recording import rows
    from stream_app.produce import produce

    settings = all_settings(arguments)
    with progress(f"sending {arguments.file.name}", rows(arguments.file)) as bar:
        sent = produce(
            arguments.file,
            settings.kafka,
            settings.topics.interactions,
            settings.records,
            rate=arguments.rate,
            end=arguments.end,
            told=bar.reached,
        )
    print(f"{sent.interactions} interactions sent to {settings.topics.interactions}, {sent.bad} bad rows not sent")
    if arguments.end:
        print(f"{sent.partitions} partitions ended")

"""`asmg record OUT.parquet`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stream_app.cli.options import Commands, command, flags_of
from stream_app.cli.progress import progress


def add(commands: Commands) -> None:
    """Add the command."""
    record = command(
        commands,
        "record",
        run,
        "write a topic to a recording that replays as it ran",
        "asmg replay OUT.parquet gives the same periods, the same late rows and the same versions. A data frame finds "
        "the interactions by kind = 'interaction'; the other rows say what else a replay needs.",
    )
    record.set_defaults(interrupted="interrupted; nothing was written")
    record.add_argument("out", type=Path, metavar="OUT.parquet", help="the file, which must not be there yet")
    record.add_argument(
        "--source",
        choices=("segments", "interactions"),
        default="segments",
        help="segments (default): all that the newest run was made from; interactions: the messages as these settings "
        "read them, without the idle marks of the run",
    )
    until = record.add_mutually_exclusive_group()
    until.add_argument("--until", choices=("now",), default="now", help="what the topic holds by now (default)")
    until.add_argument("--until-end", action="store_true", help="and what comes, until every partition has ended")


def run(arguments: argparse.Namespace) -> None:
    """Record, then say what is in it."""
    from stream_app.recorder import Recorder
    from stream_app.settings.ingest import IngestSettings
    from stream_app.settings.load import load

    settings = load(IngestSettings, flags_of(arguments))
    recorder = Recorder(arguments.out, settings.kafka, settings.topics, settings.records, arguments.source)
    with progress(f"record {arguments.source}", None if arguments.until_end else recorder.messages) as bar:
        found = recorder.run(arguments.until_end, bar.reached)
    refused = ", ".join(f"{reason} {count}" for reason, count in found.bad.most_common())
    print(
        f"{arguments.out}: {found.interactions} interactions of {found.partitions} partitions"
        + (f", {len(found.ended)} of them ended" if found.ended else "")
        + (f"; left out as no valid interactions: {refused}" if refused else "")
    )
    if not found.whole:
        print("asmg: the topic no longer holds the beginning of the run: the replay begins later", file=sys.stderr)

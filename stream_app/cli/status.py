"""`asmg status`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from stream_app.cli.options import Commands, all_settings, command
from stream_app.cli.tables import table
from stream_app.errors import Unavailable

if TYPE_CHECKING:
    from stream_app.live.status import Status


def add(commands: Commands) -> None:
    """Add the command."""
    status = command(
        commands,
        "status",
        run,
        "say where the stream, the open period, the trainer and the versions stand",
        "It reads the broker and the state directory; the worker need not run. Without a broker it says what it can, "
        "and ends with exit code 4.",
    )
    status.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Print it. Raises Unavailable afterwards when the broker did not answer."""
    from stream_app.live.status import status

    found = status(all_settings(arguments).worker())
    print(json.dumps(found.as_json()) if arguments.json else text(found))
    if found.broker != "answers":
        raise Unavailable(found.broker)


def text(found: Status) -> str:
    """The same for people."""
    trainer, period, version = found.trainer, found.open_period, found.version
    learned = f", {trainer.learned}" if trainer.learned else ""
    lines = [
        f"model {found.model}: worker {found.worker}, trainer {trainer.stage}{learned}",
        table([asdict(partition) for partition in found.partitions]) if found.partitions else "no partition seen yet",
        f"segments: {_count(found.segments_lag)} not in the journal; dead letters: {_count(found.dead_letters)}",
        f"open period {period.number}: {period.rows} rows, watermark {period.watermark or 'not known'}",
        *(f"  {reason}" for reason in period.why),
        "no version yet"
        if version is None
        else f"last version {version.number} ({version.digest[:12]}), published up to {version.published}",
    ]
    return "\n".join(lines)


def _count(number: int | None) -> str:
    return "not known" if number is None else str(number)

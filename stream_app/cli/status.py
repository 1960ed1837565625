"""`asmg status`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from stream_app.cli.options import Commands, command, flags_of
from stream_app.cli.tables import table
from stream_app.errors import Unavailable

if TYPE_CHECKING:
    from stream_app.live.seeing.broker_look import GroupLook
    from stream_app.live.seeing.status import Status, VersionStatus


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
    from stream_app.live.seeing.status import ANSWERS, status
    from stream_app.settings.ingest import IngestSettings
    from stream_app.settings.load import load

    # The settings of the learning are not needed, and torch takes seconds to load.
    found = status(load(IngestSettings, flags_of(arguments)).worker())
    print(json.dumps(found.as_json()) if arguments.json else text(found))
    if found.broker != ANSWERS:
        raise Unavailable(found.broker)


def text(found: Status) -> str:
    """The same for people."""
    return "\n".join((*_worker(found), *_stream(found), *_periods(found)))


def _worker(found: Status) -> Iterator[str]:
    trainer, window = found.trainer, found.window
    running = f" ({', '.join(found.processes)})" if found.processes else ""
    yield f"model {found.model}: worker {found.worker}{running}"
    yield f"broker: {found.broker}"
    since = f" since {window.since}" if window.since else ""
    yield f"window: {'active' if window.active else 'not with this worker'}{since}"
    learned = f", {trainer.learned}" if trainer.learned else ""
    since = f" since {trainer.since}" if trainer.since else ""
    yield f"trainer: {trainer.stage if trainer.running or not trainer.since else 'stopped'}{since}{learned}"


def _stream(found: Status) -> Iterator[str]:
    if found.topics:
        yield table([asdict(topic) for topic in found.topics])
    if found.groups:
        yield table([_group(group) for group in found.groups])
    rows = [asdict(partition) for partition in found.partitions]
    yield table([_without_seconds(row) for row in rows]) if rows else "no partition seen yet"
    reasons = ", ".join(f"{reason} {count}" for reason, count in (found.reasons or {}).items())
    newest = f" (of the newest: {reasons})" if reasons else ""
    yield f"records of the segments topic that are not in the journal: {_count(found.segments_lag)}"
    yield f"records of the dead-letter topic: {_count(found.dead_letters)}{newest}"


def _periods(found: Status) -> Iterator[str]:
    period = found.open_period
    yield f"open period {period.number}: {period.rows} rows, watermark {period.watermark or 'not known'}"
    yield from (f"  {reason}" for reason in period.why)
    yield f"last closed period {found.last_closed or '-'}, last trained {found.last_trained or '-'}"
    if found.pinned is not None:
        yield f"version {found.pinned} is pinned: subscribers serve it, not the newest (asmg versions unpin)"
    if found.version is None:
        yield "no version yet"
        return
    yield _version(found.version)
    if found.version.method is not None:
        yield f"  made by {found.version.method}" + (f": {found.version.reason}" if found.version.reason else "")


def _version(version: VersionStatus) -> str:
    made = f"last version {version.number} ({version.digest[:12]}), of period {version.period}"
    published = f"published up to {version.published or '-'}"
    if version.published_period is not None:
        published += f", of period {version.published_period}"
    sender = f", epoch {version.epoch}, run {version.run or '(the first)'}" if version.epoch is not None else ""
    return f"{made}; {published}{sender}"


def _group(group: GroupLook) -> dict[str, object]:
    # Kafka calls a group that nobody has joined yet "Dead", which would alarm a person.
    return {
        "group": group.name,
        "state": "not there" if group.state == "Dead" else group.state,
        "members": group.members,
    }


def _without_seconds(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name != "watermark_seconds"}


def _count(number: int | None) -> str:
    return "not known" if number is None else str(number)

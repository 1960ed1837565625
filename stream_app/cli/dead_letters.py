"""`asmg dead-letters list|show|redrive`: what was refused, and sending it again once the cause is mended."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from stream_app.cli.options import Commands, command, flags_of, serving_settings
from stream_app.cli.progress import progress
from stream_app.cli.tables import Row, in_full, table
from stream_app.errors import BadInput
from stream_app.events.dead_letter import Origin
from stream_app.events.record import REASONS
from stream_app.settings.durations import seconds
from stream_app.telemetry import utc, wall_clock

if TYPE_CHECKING:
    from stream_app.dead_letters.judge import Outcome
    from stream_app.dead_letters.reading import Found, Refused

_BLOCK = 1000
_EXAMPLES = 20


def add(commands: Commands) -> None:
    """Add the group."""
    group = commands.add_parser("dead-letters", help="look at what was refused, and send it again")
    actions = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = command(
        actions,
        "list",
        list_all,
        "list what was refused, each origin once",
        "The newest come last. It reads the topic twice and keeps 18 bytes a letter in memory, 77 while it sorts.",
    )
    listing.add_argument("--all", action="store_true", help="also those that were sent again")
    listing.add_argument(
        "--reason", action="append", choices=REASONS, metavar="REASON", help="only this reason; may be repeated"
    )
    listing.add_argument("--since", type=since, metavar="TIME", help="refused since: 1h, 2d, or 2026-01-05T09:00Z")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="the newest N (default 100; 0: all)")
    showing = command(actions, "show", show, "show one of them, in full", "The value as text, or else as hex.")
    showing.add_argument("origin", type=origin, metavar="ORIGIN", help="topic/partition/offset")
    redriving = command(
        actions,
        "redrive",
        redrive,
        "send those that are valid by now to the interactions topic again",
        "Each is judged by the settings as they are; what is still refused stays, with its reason. Interrupted or "
        "killed, run it again: each is sent once. Workers must run with the mended settings.",
    )
    redriving.set_defaults(interrupted="interrupted; what was sent is noted, the same command sends the rest")
    redriving.add_argument("origins", type=origin, nargs="*", metavar="ORIGIN", help="only these (default: all)")
    redriving.add_argument(
        "--reason",
        action="append",
        choices=REASONS,
        metavar="REASON",
        help='only this reason; may be repeated; "late" goes only so',
    )
    redriving.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    for action in (listing, showing, redriving):
        action.add_argument("--json", action="store_true", help="as JSON, an object a line")


def origin(text: str) -> Origin:
    """topic/partition/offset."""
    try:
        return Origin.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def since(text: str) -> int:
    """A time in ms since 1970: a duration before now, or ISO 8601 with a zone."""
    try:
        return round((wall_clock() - float(seconds(text))) * 1000)
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise ValueError
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a duration (1h) nor a time with a zone (...Z)"
        ) from error
    return round(when.timestamp() * 1000)


def list_all(arguments: argparse.Namespace) -> None:
    """Print them, then how many there are of each reason."""
    from stream_app.dead_letters.reading import LetterBox

    settings = serving_settings(arguments)
    with LetterBox(settings.kafka, settings.topics.dead_letters) as box:
        with progress("dead letters", box.messages) as bar:
            found = box.letters(arguments.since, bar.reached)
        wanted = found.letters if arguments.all else found.letters.open()
        if arguments.reason:
            wanted = wanted.of_reasons(arguments.reason)
        shown = wanted.select(slice(-arguments.limit, None)) if arguments.limit else wanted
        closed = dict(zip(shown.offsets.tolist(), shown.closed.tolist(), strict=True)) if arguments.all else {}
        rows = (row(one, closed.get(one.offset)) for one in box.read(shown.offsets))
        _print(rows, arguments.json)
    if arguments.json:
        _tell_damaged(found)
        return
    print(f"{_counted(len(wanted), 'dead letter')}{_listed(wanted.by_reason())}; {len(shown)} shown")
    _tell_damaged(found)


def row(refused: Refused, closed: bool | None = None) -> Row:
    """One line of the list; closed: None leaves it out."""
    letter = refused.letter
    found: Row = {
        "origin": str(letter.origin),
        "reason": letter.reason,
        "field": letter.field,
        "time": utc(refused.at_ms / 1000),
        "size": letter.size,
    }
    return found if closed is None else {**found, "state": "sent again" if closed else "open"}


def show(arguments: argparse.Namespace) -> None:
    """Print it. Raises BadInput when the topic has none of that origin."""
    from stream_app.dead_letters.reading import LetterBox

    settings = serving_settings(arguments)
    topic = settings.topics.dead_letters
    with LetterBox(settings.kafka, topic) as box, progress("dead letters", box.messages) as bar:
        history = box.history(arguments.origin, bar.reached)
    if history.latest is None:
        raise BadInput(topic, f"has no dead letter of {arguments.origin}", "asmg dead-letters list shows those it has")
    found = {**in_detail(history.latest), "letters": history.letters, "sent_again": history.closed}
    print(json.dumps(found) if arguments.json else in_full(found))


def in_detail(refused: Refused) -> Row:
    """Everything that a letter says; bytes as text where they are, else as hex."""
    letter = refused.letter
    return {
        "origin": str(letter.origin),
        "reason": letter.reason,
        "field": letter.field,
        "text": letter.text,
        "refused": utc(refused.at_ms / 1000),
        "timestamp": utc(letter.timestamp_ms / 1000) if letter.timestamp_ms >= 0 else None,
        "size": letter.size,
        "sha256": letter.sha256,
        "cut": letter.cut,
        "key": _readable(letter.record_key),
        "headers": [{"name": name, **_readable(value)} for name, value in letter.headers],
        "value": _readable(letter.value),
    }


def redrive(arguments: argparse.Namespace) -> None:
    """Print what was sent, what stays and why."""
    from stream_app.dead_letters.redrive import Redrive, Wanted
    from stream_app.settings.ingest import IngestSettings
    from stream_app.settings.load import load

    settings = load(IngestSettings, flags_of(arguments)).worker()
    wanted = Wanted(tuple(arguments.origins), tuple(arguments.reason or ()))
    counts: dict[str, int] = {}
    examples: list[Outcome] = []
    with Redrive(settings, wanted, arguments.dry_run) as going, progress("redrive", len(going)) as bar:
        for number, outcome in enumerate(going.run(), 1):
            counts[outcome.became] = counts.get(outcome.became, 0) + 1
            bar.reached(number)
            if arguments.json:
                bar.say(json.dumps(outcome.as_json()))
            elif not outcome.sent and len(examples) < _EXAMPLES:
                examples.append(outcome)
    if not arguments.json:
        _conclude(counts, examples, arguments.dry_run)


def _conclude(counts: dict[str, int], examples: list[Outcome], dry_run: bool) -> None:
    sent = counts.pop("sent", 0)
    for outcome in examples:
        print(f"{outcome.letter.origin} stays: {outcome.text}")
    left = sum(counts.values())
    if left > len(examples):
        print(f"... and {left - len(examples)} more (--json tells of each)")
    print(f"{_counted(sent, 'message')} {'would be sent' if dry_run else 'sent'}; {left} stay{_listed(counts)}")


def _print(rows: Iterator[Row], as_json: bool) -> None:
    if as_json:
        for one in rows:
            print(json.dumps(one))
        return
    while block := list(islice(rows, _BLOCK)):
        print(table(block))


def _tell_damaged(found: Found) -> None:
    if found.damaged:
        print(f"asmg: {_counted(found.damaged, 'message')} of the topic are no dead letters", file=sys.stderr)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _listed(counts: dict[str, int]) -> str:
    return " (" + ", ".join(f"{name} {count}" for name, count in counts.items()) + ")" if counts else ""


def _readable(value: bytes | None) -> Row:
    if value is None:
        return {"text": None}
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}
    return {"text": text} if text.isprintable() else {"hex": value.hex()}

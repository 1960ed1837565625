"""`asmg versions`: one file per command; `list` and `show` look into a state directory, as those of periods do."""

from __future__ import annotations

from stream_app.cli import inspect
from stream_app.cli.options import Commands
from stream_app.cli.versions import diff, export, pin, verify

COMMANDS = (verify, diff, export, pin)
"""Each with `add(actions)`; in the order of the help."""


def add(commands: Commands) -> None:
    """Add the group."""
    versions = commands.add_parser("versions", help="look at model versions, compare, verify, export and pin them")
    actions = versions.add_subparsers(title="commands", metavar="COMMAND", required=True)
    kept = "model versions kept in the state directory (`verify` says which are on the topic)"
    inspect.add_looks(actions, inspect.versions, "versions", kept)
    for one in COMMANDS:
        one.add(actions)

"""`asmg config show`."""

from __future__ import annotations

import argparse
import json

from stream_app.cli.options import Commands, all_settings, command


def add(commands: Commands) -> None:
    """Add the group."""
    config = commands.add_parser("config", help="look at the settings")
    actions = config.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command(actions, "show", show, "print the settings that hold, as JSON", "File, environment and flags put together.")


def show(arguments: argparse.Namespace) -> None:
    """Print them."""
    from stream_app.broker.security import masked

    settings = all_settings(arguments)
    print(json.dumps(masked(settings.model_dump(mode="json")), indent=2))

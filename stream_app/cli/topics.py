"""`asmg topics create`."""

from __future__ import annotations

import argparse

from stream_app.cli.options import Commands, command, serving_settings


def add(commands: Commands) -> None:
    """Add the group."""
    topics = commands.add_parser("topics", help="make the topics on the broker")
    actions = topics.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command(
        actions,
        "create",
        create,
        "create the four topics that are not there yet",
        "Those that are there stay as they are.",
    )


def create(arguments: argparse.Namespace) -> None:
    """Print what was created."""
    from stream_app.live.topics import create as create_topics

    settings = serving_settings(arguments)
    made = create_topics(settings.kafka, settings.topics)
    for name in settings.topics.names:
        print(f"{name}: {'created' if name in made else 'was there'}")

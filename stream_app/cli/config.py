"""`asmg config show|check`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stream_app.cli.options import Commands, all_settings, command, flags_of, serving_settings
from stream_app.errors import AsmgError

if TYPE_CHECKING:
    from stream_app.live.cluster.checks import Check
    from stream_app.live.cluster.roles import Role
    from stream_app.settings.serving import ServingSettings

ROLES = ("worker", "subscriber", "histories", "producer", "operator")
MILDEST_FIRST = (1, 4, 2, 3)
"""Exit codes: what may pass by itself, what a setting mends, what a person must decide."""


def add(commands: Commands) -> None:
    """Add the group."""
    config = commands.add_parser("config", help="look at the settings, and whether they work")
    actions = config.add_subparsers(title="commands", metavar="COMMAND", required=True)
    showing = command(
        actions,
        "show",
        show,
        "print the settings that hold, as JSON",
        "File, environment and flags put together; secrets are masked.",
    )
    showing.add_argument("--origin", action="store_true", help="say of each setting where it comes from, a line each")
    checking = command(
        actions,
        "check",
        check,
        "see whether everything is there that a start needs, without starting anything",
        "Brokers, credentials, rights, topics, disk, device: a line each. Exit code of the worst.",
    )
    checking.add_argument("--json", action="store_true", help="as JSON")
    for action in (showing, checking):
        what = "for whom (default: worker; all others need a plain install only)"
        action.add_argument("--role", choices=ROLES, default="worker", help=what)


def show(arguments: argparse.Namespace) -> None:
    """Print them."""
    from stream_app.broker.security import masked

    settings = _settings(arguments)
    if arguments.origin:
        from stream_app.settings.origins import origins

        for one in origins(settings, flags_of(arguments)):
            print(f"{one.key} = {json.dumps(one.value)}  ({one.where})")
    else:
        print(json.dumps(masked(settings.model_dump(mode="json")), indent=2))


def check(arguments: argparse.Namespace) -> None:
    """Print a line for each look. Raises the worst of what was found."""
    found = []
    for one in _checks(arguments):
        found.append(one)
        if not arguments.json:
            print(f"{one.result:11}  {one.name}: {one.said}", flush=True)
    if arguments.json:
        print(json.dumps([{"check": one.name, "result": one.result, "said": one.said} for one in found]))
    errors = [one.error for one in found if one.error is not None]
    if errors:
        raise max(errors, key=lambda error: MILDEST_FIRST.index(error.exit_code))


def _settings(arguments: argparse.Namespace) -> ServingSettings:
    """Of a worker all, of others what they read."""
    return all_settings(arguments) if arguments.role == "worker" else serving_settings(arguments)


def _checks(arguments: argparse.Namespace) -> Iterator[Check]:
    from stream_app.live.cluster.checks import Check, of_cluster, of_keys, of_worker
    from stream_app.live.cluster.roles import rights

    role: Role = arguments.role
    try:
        settings = _settings(arguments)
    except AsmgError as error:
        yield Check("settings", str(error), error)
        return
    yield Check("settings", "can be read and go together")
    yield from of_keys(role, settings.publish, settings.subscriber.keys)
    yield from of_cluster(
        settings.kafka, settings.topics, rights(role, settings.kafka, settings.topics, settings.model)
    )
    if role == "worker":
        yield from of_worker(all_settings(arguments).worker())

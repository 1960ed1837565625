"""`asmg versions pin N` and `unpin`: say on the topic which version is served; subscribers obey as they run."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from stream_app.cli.options import Commands, command, positive, serving_settings

if TYPE_CHECKING:
    from stream_app.sinks.operator import Operator, Said
    from stream_app.versions.control import ControlRecord


def add(actions: Commands) -> None:
    """Add the two commands."""
    pinning = command(
        actions,
        "pin",
        pin,
        "have one version served instead of the newest",
        "It must be whole on the topic, and stays there as long as it is pinned. Training and publishing go on. Where "
        "subscribers are given keys (subscriber.keys), publish.signing_key must be set.",
    )
    pinning.add_argument("number", type=positive, metavar="N", help="which; of several runs that of the newest")
    unpinning = command(actions, "unpin", unpin, "have the newest version served again")
    for action in (pinning, unpinning):
        action.add_argument("--json", action="store_true", help="as JSON")


def pin(arguments: argparse.Namespace) -> None:
    """Send it and say what changed. Raises as `Operator.pin`."""
    with _operator(arguments) as operator:
        _print(operator.pin(arguments.number), arguments.json)


def unpin(arguments: argparse.Namespace) -> None:
    """Send it and say what changed. Raises as `Operator.unpin`."""
    with _operator(arguments) as operator:
        _print(operator.unpin(), arguments.json)


def _operator(arguments: argparse.Namespace) -> Operator:
    from stream_app.broker.preflight import preflight
    from stream_app.live.cluster.roles import rights
    from stream_app.sinks.operator import Operator
    from stream_app.versions.signing import Keys

    settings = serving_settings(arguments)
    kafka, topic, model = settings.kafka, settings.topics.models, settings.model
    signer, keys = settings.publish.signer(), Keys.of(settings.subscriber.keys)
    preflight(kafka, [topic], rights("pin", kafka, settings.topics, model))
    return Operator(kafka, topic, model, signer, keys)


def _print(said: Said, as_json: bool) -> None:
    now, before = facts(said.now), facts(said.before)
    if as_json:
        print(json.dumps({"now": now, "before": before}))
    else:
        print(f"{_served(now)}; before: {_served(before)}")


def facts(record: ControlRecord | None) -> dict[str, Any]:
    """What a record says, as plain values; of none, that nothing is pinned."""
    control = None if record is None else record.control
    pinned = None if control is None else control.pin
    return {
        "pinned": None if pinned is None else pinned.version,
        "digest": None if pinned is None else pinned.digest,
        "serial": None if control is None else control.serial,
        "signed": record is not None and record.signature is not None,
    }


def _served(fact: dict[str, Any]) -> str:
    signed = ", signed" if fact["signed"] else ""
    if fact["pinned"] is None:
        return f"nothing is pinned, the newest version is served{signed}"
    return f"version {fact['pinned']} ({fact['digest'][:12]}) is pinned{signed}"

"""`asmg subscribe`: follow the models topic and print each swap."""

from __future__ import annotations

import argparse
import json
import math
import queue
import time
from typing import TYPE_CHECKING, Any

from stream_app.cli.options import Commands, command, positive, serving_settings
from stream_app.errors import Unavailable

if TYPE_CHECKING:
    from stream_app.versions.scoring import ServingModel

_LOOK = 0.2  # seconds: how long Ctrl-C may have to wait


def add(commands: Commands) -> None:
    """Add the command."""
    subscribe = command(
        commands,
        "subscribe",
        run,
        "follow the models topic and print each version as it starts to serve",
        "Ends after --count versions or --for seconds, else with Ctrl-C; with both, fewer versions in that time are an "
        "error (4).",
    )
    subscribe.add_argument("--count", type=positive, metavar="N", help="end after N versions")
    subscribe.add_argument("--for", type=float, metavar="SECONDS", dest="seconds", help="end after this time")
    subscribe.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> None:
    """Print a line per swap, and why there is none yet. Raises Unavailable when too few came in time."""
    from stream_app.broker import preflight
    from stream_app.subscriber import ModelSubscriber

    settings = serving_settings(arguments)
    preflight(settings.kafka, [settings.topics.models])
    swapped: queue.SimpleQueue[ServingModel] = queue.SimpleQueue()
    end = math.inf if arguments.seconds is None else time.monotonic() + arguments.seconds
    wanted, printed, stage = arguments.count or math.inf, 0, ""
    with ModelSubscriber(settings.subscriber(), on_swap=swapped.put) as subscriber:
        while printed < wanted and time.monotonic() < end:
            try:
                model = swapped.get(timeout=_LOOK)
            except queue.Empty:
                stage = _say_stage(stage, subscriber.health().stage, arguments.json)
                continue
            print(json.dumps(facts(model)) if arguments.json else line(model), flush=True)
            printed += 1
    if printed < (arguments.count or 0):
        raise Unavailable(f"{printed} of {arguments.count} versions came within {arguments.seconds:g} s")


def _say_stage(before: str, now: str, as_json: bool) -> str:
    if now and now != before and not as_json:
        print(f"no version yet: {now}", flush=True)
    return now


def facts(model: ServingModel) -> dict[str, Any]:
    """What is known of a version that serves, as plain values."""
    content = model.version.content
    metrics = {name: None if scores is None else scores.model_dump() for name, scores in content.metrics.items()}
    return {
        "version": content.version,
        "digest": model.version.digest,
        "period": content.period.model_dump(),
        "method": content.learning.get("method"),
        "bytes": content.size,
        "metrics": metrics,
    }


def line(model: ServingModel) -> str:
    """The same for people."""
    content = model.version.content
    method = str(content.learning.get("method"))
    scores = content.metrics.get(method)
    scored = "not scored yet" if scores is None or scores.auc is None else f"AUC {scores.auc:.4f} before training on it"
    return (
        f"version {content.version}  {model.version.digest[:12]}  {method}  period {content.period.number} "
        f"({content.period.interactions} interactions, {scored})  {content.size / 1e6:.1f} MB"
    )

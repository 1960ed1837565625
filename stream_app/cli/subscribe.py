"""`asmg subscribe`: follow the models topic and print each swap."""

from __future__ import annotations

import argparse
import json
import math
import queue
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_app.cli.options import Commands, command, positive, serving_settings
from stream_app.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from stream_app.serving.model import ServingModel
    from stream_app.settings.serving import ServingSettings
    from stream_app.subscriber import Health
    from stream_app.subscriber.cache import KeepCache

SETTING = ""
_LOOK = 0.2  # seconds: how long Ctrl-C may have to wait


def add(commands: Commands) -> None:
    """Add the command."""
    subscribe = command(
        commands,
        "subscribe",
        run,
        "follow the models topic and print each version as it starts to serve",
        "Begins with the newest version. Ends after --count versions, once version --until serves, or after --for "
        "seconds, else with Ctrl-C; what was waited for and did not come in that time is an error (4).",
    )
    subscribe.add_argument("--count", type=positive, metavar="N", help="end after N versions")
    subscribe.add_argument("--until", type=positive, metavar="N", help="end once version N or a later one serves")
    subscribe.add_argument("--for", type=float, metavar="SECONDS", dest="seconds", help="end after this time")
    subscribe.add_argument(
        "--cache",
        metavar="DIR",
        nargs="?",
        const=SETTING,
        help="keep a cache of it that other processes follow, in DIR or where subscriber.cache says",
    )
    subscribe.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> None:
    """Print a line per swap, and why there is none yet. Raises Unavailable when what was waited for did not come."""
    from stream_app.subscriber import ModelSubscriber

    settings = serving_settings(arguments)
    swapped: queue.SimpleQueue[ServingModel] = queue.SimpleQueue()
    end = math.inf if arguments.seconds is None else time.monotonic() + arguments.seconds
    printed, version, said = 0, 0, dict[str, str]()
    with (
        kept(arguments.cache, settings) as keeping,
        ModelSubscriber(settings.subscription(), on_swap=swapped.put, following=keeping) as subscriber,
    ):
        while not enough(arguments, printed, version) and time.monotonic() < end:
            try:
                model = swapped.get(timeout=_LOOK)
            except queue.Empty:
                if keeping is not None and keeping.refused is not None:
                    raise keeping.refused from None
                said = say(said, news_of(subscriber.health()), arguments.json)
                continue
            print(json.dumps(facts(model)) if arguments.json else line(model), flush=True)
            printed, version = printed + 1, model.version.number
        news = news_of(subscriber.health())
    if (arguments.count or arguments.until) and not enough(arguments, printed, version):
        missing = f"{printed} of {arguments.count} versions" if arguments.count else f"no version {arguments.until}"
        raise Unavailable(f"{missing} came within {arguments.seconds:g} s{why(news)}")


@contextmanager
def kept(directory: str | None, settings: ServingSettings) -> Iterator[KeepCache | None]:
    """What keeps the cache, if one is wanted; who only follows is told at once why the topic cannot be read.

    Raises CacheInUse, DiskRefuses, SettingsError, and what `preflight` raises.
    """
    from stream_app.broker.preflight import preflight
    from stream_app.live.cluster.roles import rights
    from stream_app.serving.computing import NumpyServing
    from stream_app.subscriber.cache import CacheWriter

    if directory is None:
        if settings.subscriber.cache is None:
            needed = rights("subscriber", settings.kafka, settings.topics, settings.model)
            preflight(settings.kafka, [settings.topics.models], needed)
        yield None
        return
    path = settings.subscriber.cache if directory == SETTING else Path(directory)
    if path is None:
        raise SettingsError("subscriber.cache", "is not set, and --cache names no directory", "name it in one of them")
    with CacheWriter(path) as writer:
        yield settings.subscription().keeping(writer, NumpyServing())


def enough(arguments: argparse.Namespace, printed: int, version: int) -> bool:
    """Whether what was waited for is there, after so many versions, the last of them of this number."""
    return printed >= (arguments.count or math.inf) or version >= (arguments.until or math.inf)


def news_of(health: Health) -> dict[str, str]:
    """What there is to know beside the versions, by the words that it is said with; "" where there is nothing."""
    return {
        "no version yet": "" if health.version else health.stage,
        "pinned": "" if health.pinned is None else f"version {health.pinned}, whatever is published",
        "trouble": health.trouble,
        "last refusal": health.last_refusal,
        "stale": f"version {health.version} is older than subscriber.stale_after allows" if health.stale else "",
    }


def say(before: Mapping[str, str], now: dict[str, str], as_json: bool) -> dict[str, str]:
    """Print what has changed, once; returns what is said now."""
    for words, text in now.items():
        if text and text != before.get(words) and not as_json:
            print(f"{words}: {text}", flush=True)
    return now


def why(news: Mapping[str, str]) -> str:
    """What is known, to be put behind an error; "" when nothing is."""
    known = [f"{words}: {text}" for words, text in news.items() if text]
    return "".join(f"; {one}" for one in known)


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
        "histories_bytes": content.histories_size,
        "metrics": metrics,
    }


def line(model: ServingModel) -> str:
    """The same for people. Its AUC is that of what served on the period: of what `auto` had chosen, where that does."""
    content = model.version.content
    method = str(content.learning.get("method"))
    scores = content.metrics.get("auto", content.metrics.get(method))
    carried = f", {content.histories_size / 1e6:.1f} MB of it histories" if content.histories_size else ""
    scored = "not scored yet" if scores is None or scores.auc is None else f"AUC {scores.auc:.4f} before training on it"
    return (
        f"version {content.version}  {model.version.digest[:12]}  {method}  period {content.period.number} "
        f"({content.period.interactions} interactions, {scored})  {content.size / 1e6:.1f} MB{carried}"
    )

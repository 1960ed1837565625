# %% [markdown]
# # How good is what we serve, on what users do right now?
#
# Follows the `segments` topic (what the worker has read, decoded) beside the versions that it publishes, and scores
# each interaction with the version that serves when it arrives, before any version has learned from it. Where versions
# carry histories (`learning.histories`), three ways of giving the user's history are compared: live (a
# `HistoryFollower`), as old as the version, none.
#
# Run it as a script, or cell by cell:
#
#     python -m examples.live_quality.live_quality --config asmg.toml --for 600
#
# Needs `pip install 'asmg-stream[worker]'`. Explicit labels are taken as they are; where there are only positives
# (`--negatives`), each gets one negative, an item drawn uniformly from those that the version knows: such numbers
# compare with each other, not with those of explicit labels.

# %%
from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from models.metrics.loss import log_loss, losses
from models.metrics.roc import auc
from models.randomness import rng
from stream_app.errors import Unavailable
from stream_app.events.segment import Segment, decode
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings
from stream_app.subscriber import ModelSubscriber
from stream_app.subscriber.histories import HistoryFollower, HistorySettings
from stream_app.versions.columns import ids_from_tensors

LIVE, VERSION, NONE = "live", "as old as the version", "none"

# %% [markdown]
# ## What is kept: of each version the logits by kind of history, and the labels


# %%
@dataclass
class Quality:
    """Of one version: what it said of the interactions that came while it served, before it learned from them."""

    labels: list[float] = field(default_factory=list)
    logits: dict[str, list[float]] = field(default_factory=dict)

    def add(self, labels: Sequence[float], logits: dict[str, Any]) -> None:
        """One more batch; `logits` by the kind of history."""
        self.labels += labels
        for kind, column in logits.items():
            self.logits.setdefault(kind, []).extend(column.tolist())

    def of(self, kind: str) -> tuple[float, float]:
        """AUC and log loss; NaN where there is one label only."""
        labels, logits = np.array(self.labels), np.array(self.logits[kind])
        return auc(logits, labels), log_loss(losses(logits, labels))


# %% [markdown]
# ## Scoring a segment: with what serves now, and only what that has not learned from
#
# A version has learned from rows below the offsets at which its period closed, and from no others.


# %%
class LiveQuality:
    """Scores segments as they come; `by_version` holds the result."""

    def __init__(self, subscriber: ModelSubscriber, follower: HistoryFollower, negatives: bool, seed: int = 0) -> None:
        self._subscriber, self._follower, self._negatives = subscriber, follower, negatives
        self._draw = rng(seed, 0, "negatives of live quality")
        self.by_version: dict[int, Quality] = {}
        self.known_before = 0

    def take(self, segment: Segment) -> None:
        """Rows that the serving version knows already are counted and left out."""
        model = self._subscriber.model
        known = (
            self._subscriber.health().source_offsets
        )  # after the model: if it is swapped in between, we leave out more
        if model is None:
            return
        fresh = np.flatnonzero(segment.offsets >= known.get(segment.partition, 0))
        self.known_before += len(segment) - len(fresh)
        if not len(fresh):
            return
        rows = segment.interactions.select(fresh)
        users, items, labels = rows.users.tolist(), rows.items.tolist(), rows.labels.tolist()
        times = rows.times.tolist()
        if self._negatives:
            drawn = self._draw.choice(ids_from_tensors("items", model.version.tensors), len(users)).tolist()
            users, items, times, labels = users * 2, items + drawn, times * 2, labels + [0.0] * len(drawn)
        logits = {NONE: model.logits(users, items, [()] * len(users))}
        if model.histories is not None:
            live = [self._follower.history(user, model, before) for user, before in zip(users, times, strict=True)]
            logits |= {LIVE: model.logits(users, items, live), VERSION: model.logits(users, items)}
        self.by_version.setdefault(model.version.number, Quality()).add(labels, logits)

    def table(self) -> Table:
        """A line a version."""
        table = Table("version", "rows", *(f"AUC / log loss, history {kind}" for kind in (LIVE, VERSION, NONE)))
        for number, quality in sorted(self.by_version.items()):
            cells = [
                "{:.4f} / {:.4f}".format(*quality.of(kind)) if kind in quality.logits else ""
                for kind in (LIVE, VERSION, NONE)
            ]
            table.add_row(str(number), str(len(quality.labels)), *cells)
        return table


# %% [markdown]
# ## Following the stream


# %%
def segments(settings: ServingSettings, seconds: float) -> Iterator[Segment | None]:
    """What is sent to the segments topic from now on, for so many seconds; None when nothing came for a while."""
    partition = TopicPartition(settings.topics.segments, 0)
    with closing(KafkaConsumer(**settings.kafka.plain_reader())) as consumer:
        consumer.assign([partition])
        consumer.seek_to_end(partition)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            records = consumer.poll(timeout_ms=500).get(partition, ())
            for record in records:
                said = decode(record.value)
                if isinstance(said, Segment) and len(said):
                    yield said
            if not records:
                yield None


def follow(settings: ServingSettings, seconds: float, negatives: bool = False) -> LiveQuality:
    """Follows the stream for so many seconds, printing a table as it changes. Raises Unavailable without a version."""
    console = Console()
    with (
        ModelSubscriber(settings.subscription()) as subscriber,
        HistoryFollower(HistorySettings(settings.kafka, settings.topics.segments), subscriber) as follower,
    ):
        subscriber.wait(timeout=60)
        quality = LiveQuality(subscriber, follower, negatives)
        changed = False
        for segment in segments(settings, seconds):
            if segment is not None:
                quality.take(segment)
                changed = True
            elif changed:
                console.print(quality.table())
                changed = False
    return quality


# %%
def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a script; at the end the table is printed once more."""
    parser = argparse.ArgumentParser(prog="live_quality", description="Quality of what serves, on the live stream.")
    parser.add_argument("--config", type=Path, help="settings file (default: asmg.toml, if it is there)")
    parser.add_argument("--for", type=float, default=600.0, dest="seconds", metavar="SECONDS")
    parser.add_argument("--negatives", action="store_true", help="positives only: draw one negative each")
    given = parser.parse_args(arguments)
    settings = load(ServingSettings, {} if given.config is None else {"config": given.config})
    try:
        quality = follow(settings, given.seconds, given.negatives)
    except Unavailable as error:
        raise SystemExit(f"live_quality: {error}") from error
    Console().print(quality.table())


if __name__ == "__main__":
    main()

"""What the demo shows: a row per period, and how a reader at full speed fares while versions swap under it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from rich.console import Group
from rich.table import Table
from rich.text import Text

from models.selection import AUTO
from stream_app.replay.picture import draw
from stream_app.replay.results import PeriodResult
from stream_app.serving.model import ServingModel
from stream_app.subscriber import ModelSubscriber

SHOWN = 14
CANDIDATES = 100
PAUSE = 0.002
"""Seconds between two calls of the reader: it shares two cores with the trainer."""


class View:
    """The periods that were served, as they come."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.results: list[PeriodResult] = []

    def swapped(self, model: ServingModel, times: Mapping[str, Any]) -> None:
        """Note a version that serves from now on; times: what its envelope says."""
        content = model.version.content
        delay = time.time() - datetime.fromisoformat(times["closed"]).timestamp()
        scored = {name: scores.model_dump() for name, scores in content.metrics.items() if scores is not None}
        self.results.append(
            PeriodResult(
                period=content.period.number,
                interactions=content.period.interactions,
                samples=2 * content.period.interactions,
                serving=_served(content.learning["method"], scored) if scored else None,
                candidates=scored,
                version=content.version,
                digest=model.version.digest,
                seconds={"close to served": round(delay, 3)},
            )
        )

    def table(self, stage: str, reader: Reader) -> Group:
        """The newest periods, and a line about the reader."""
        table = Table(title="every period is scored by the model that served it, then learned")
        for column in ("period", "version", "served model: AUC", "plain incremental: AUC", "close to served"):
            table.add_column(column, justify="right")
        for result in self.results[-SHOWN:]:
            served, plain = (_auc(result, name) for name in (result.serving, "iu"))
            delay = f"{result.seconds['close to served']:.2f} s"
            table.add_row(str(result.period), str(result.version), served, plain, delay)
        waiting = stage or "waiting for the first version"
        state = f"{len(self.results)} of {self.expected} versions" if self.results else waiting
        return Group(table, Text(f"{state}; {reader.summary()}"))

    def summary(self) -> str:
        """Mean AUC over the scored periods, and the usual delay."""
        scored = [result.candidates for result in self.results if result.candidates]
        if not scored:
            return "No period was scored."
        means = {name: np.mean([scores[name]["auc"] for scores in scored]) for name in scored[-1]}
        auc = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        delay = np.median([result.seconds["close to served"] for result in self.results])
        return f"Mean AUC over {len(scored)} periods: {auc}. Period close to served: median {delay:.2f} s."

    def draw(self, path: Path) -> None:
        """AUC and log loss over the periods, as a PNG."""
        draw(path, "demo: scores of each period before training on it", self.results)


class Reader:
    """A thread that scores without pause, as a serving process would; a context manager."""

    def __init__(self, subscriber: ModelSubscriber, recording: Path) -> None:
        """recording: a Parquet file, of whose users and items it asks for scores."""
        self._subscriber = subscriber
        ids = parquet.read_table(recording, columns=["user_id", "item_id"])
        self._users, self._items = (np.unique(ids[name].to_numpy()) for name in ids.column_names)
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._read, name="reader")
        self.calls, self.longest = 0, 0.0

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stop.set()
        self._thread.join()

    def summary(self) -> str:
        """How many calls there were, and the longest."""
        return f"{self.calls:,} calls that score {CANDIDATES} items, the longest {1000 * self.longest:.1f} ms"

    def _read(self) -> None:
        draw = np.random.default_rng(0)
        while not self._stop.wait(PAUSE):
            if (model := self._subscriber.model) is None:
                continue
            user, items = int(draw.choice(self._users)), draw.choice(self._items, CANDIDATES)
            begin = time.perf_counter()
            model.score(user, items)
            self.longest = max(self.longest, time.perf_counter() - begin)
            self.calls += 1


def _served(method: object, scored: Mapping[str, Any]) -> str:
    """Under which name the score stands of what served: the version's method serves from now on, `auto` before."""
    return AUTO if AUTO in scored else str(method)


def _auc(result: PeriodResult, method: str | None) -> str:
    value = result.candidates[method]["auc"] if method in result.candidates else None
    return "-" if value is None else f"{value:.4f}"

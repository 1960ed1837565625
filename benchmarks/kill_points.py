"""`asmg`, but the children of its worker end themselves where a plan says: no fail point is in the product.

    KILL_PLAN=plan.jsonl python -m benchmarks.kill_points worker --config asmg.toml

1. The points are calls of well-known functions, wrapped in the child's process (`install`).
2. A child that starts arms those of its own moments that have not hit yet.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.kill_plan import hits, note, read_plan

RESTART_PAUSE = 0.5
"""Longest pause of the supervisor here, in seconds: with dozens of kills it would wait for most of the time."""


class Points:
    """Counts how often this process comes by each point, and sends it what is planned there."""

    def __init__(self, plan: Path, process: str) -> None:
        self._plan, self._lock, self._counts = plan, threading.Lock(), Counter[tuple[str, str]]()
        hit = {one["entry"] for one in hits(plan)}
        self._armed = {
            entry: moment
            for entry, moment in enumerate(read_plan(plan))
            if moment.process == process and entry not in hit
        }

    def reached(self, stage: str, point: str) -> None:
        """Called by whoever comes by."""
        with self._lock:
            self._counts[stage, point] += 1
            count = self._counts[stage, point]
            due = [e for e, m in self._armed.items() if (m.stage, m.point) == (stage, point) and m.n <= count]
            if not due:
                return
            moment = self._armed.pop(due[0])
            note(self._plan, entry=due[0], **asdict(moment))
            os.kill(os.getpid(), signal.Signals[moment.signal])
            if moment.signal == "SIGKILL":
                time.sleep(60)  # whichever thread the kernel ends first, this one does no more


Hook = Callable[..., AbstractContextManager[None]]


def around(owner: Any, name: str, hook: Hook) -> None:
    """Has every call of `owner.name` made within `hook(*its arguments)`."""
    original = getattr(owner, name)
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def awaited(*arguments: Any, **named: Any) -> Any:
            with hook(*arguments, **named):
                return await original(*arguments, **named)

        setattr(owner, name, awaited)
    else:

        @functools.wraps(original)
        def called(*arguments: Any, **named: Any) -> Any:
            with hook(*arguments, **named):
                return original(*arguments, **named)

        setattr(owner, name, called)


def collect_points(points: Points) -> None:
    """Dead letters and segments on their way, and the commit behind them."""
    from aiokafka import AIOKafkaProducer

    from stream_app.live.stages.transport import Consumer

    @contextmanager
    def sending(*_: Any, **__: Any) -> Iterator[None]:
        points.reached("collecting", "before a message")
        yield

    @contextmanager
    def sent(*_: Any, **__: Any) -> Iterator[None]:
        yield
        points.reached("collecting", "after a segment")

    @contextmanager
    def committing(*_: Any, **__: Any) -> Iterator[None]:
        points.reached("collecting", "before the commit")
        yield

    around(AIOKafkaProducer, "send", sending)
    around(AIOKafkaProducer, "send_and_wait", sent)
    around(Consumer, "commit_next", committing)


def window_points(points: Points) -> None:
    """The journal's batches: those that close a period, and those that only bring rows."""
    from stream_app.store import layout
    from stream_app.store.database import Database

    @contextmanager
    def writing(_: Any, puts: Mapping[bytes, bytes], *__: Any) -> Iterator[None]:
        stage = "closing" if any(key.startswith(layout.PERIOD) for key in puts) else "writing rows"
        counted = stage == "closing" or any(key.startswith(layout.ROWS) for key in puts)
        if counted:
            points.reached(stage, "before the write")
        yield
        if counted:
            points.reached(stage, "after the write")

    around(Database, "write", writing)


class Doing(threading.local):
    """What this thread is in the middle of."""

    what = ""

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        before, self.what = self.what, what
        try:
            yield
        finally:
            self.what = before


def trainer_points(points: Points) -> None:
    """Passes of pretraining, training, and what is written of them."""
    from models import learner, training
    from stream_app.store.database import Database
    from stream_app.store.records import HEAD
    from stream_app.store.states import Store

    doing = Doing()

    @contextmanager
    def step(*_: Any, **__: Any) -> Iterator[None]:
        if doing.what:
            points.reached(doing.what, "in a pass" if doing.what == "pretraining" else "in a period")
        yield

    @contextmanager
    def writing(_: Any, puts: Mapping[bytes, bytes], *__: Any) -> Iterator[None]:
        stage, named = doing.what, HEAD in puts
        kept = "a pass is kept" if stage == "pretraining" else "it is named"
        if named and stage:
            points.reached(stage, f"before {kept}")
        yield
        if named and stage:
            points.reached(stage, f"after {kept}")
        elif stage == "writing a snapshot" and puts:
            points.reached(stage, "between its blocks")

    around(learner, "pretrain", lambda *_, **__: doing("pretraining"))
    around(learner, "train", lambda *_, **__: doing("training"))
    around(training, "dense_step", step)
    around(Store, "commit", lambda *_, **__: doing("writing a snapshot"))
    around(Database, "write", writing)


def publish_points(points: Points) -> None:
    """The messages of a version on their way, and the commit of its transaction."""
    from kafka import KafkaProducer

    under_way = {"manifest": False}

    @contextmanager
    def sending(*_: Any, key: bytes = b"", value: bytes | None = None, **__: Any) -> Iterator[None]:
        under_way["manifest"] = value is not None and key.endswith(b"/manifest")  # else it is removed
        if under_way["manifest"]:
            points.reached("before the manifest", "before it is sent")
        elif value is not None and b"/" in key:
            points.reached("between chunks", "before a chunk")
        yield

    @contextmanager
    def committing(*_: Any, **__: Any) -> Iterator[None]:
        manifest = under_way["manifest"]  # else it is progress that is told
        if manifest:
            points.reached("after the manifest", "before the commit")
        yield
        if manifest:
            points.reached("after the manifest", "after the commit")

    around(KafkaProducer, "send", sending)
    around(KafkaProducer, "commit_transaction", committing)


def install(role: str, index: int, plan: Path) -> None:
    """Wraps what a child of that role calls. Its name is the supervisor's."""
    points = Points(plan, f"{role}-{index}" if index else role)
    if role == "trainer":
        trainer_points(points)
        publish_points(points)
    else:
        {"collect": collect_points, "window": window_points}[role](points)


def main() -> int:
    """What `asmg` does; its worker has children that run this module, and starts them again soon."""
    from stream_app.cli import worker
    from stream_app.cli.main import main as asmg
    from stream_app.cli.main import parser
    from stream_app.live import supervisor

    arguments = sys.argv[1:]
    given = parser().parse_args(arguments)
    if child := getattr(given, "child", None):
        install(child, given.index, Path(os.environ["KILL_PLAN"]))
    as_it_is = worker.child_command
    ours = {"stream_app.cli": "benchmarks.kill_points"}
    worker.child_command = lambda given: [ours.get(part, part) for part in as_it_is(given)]
    supervisor.LONGEST_PAUSE = RESTART_PAUSE
    return asmg(arguments)


if __name__ == "__main__":
    sys.exit(main())

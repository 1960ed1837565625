"""Memory of eight processes that serve one large model from a cache: while they serve, while they swap, and afterwards.

Proportional set size: a page that n processes share counts 1/n for each of them. Every page of the model and of what is
derived of it has been touched in every process when it is read off. While they swap both versions are mapped, and every
process touches all of the new one at once and looks for the best of a million items: what that takes is told, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.model import ServingModel
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.cache import CacheWriter
from stream_app.telemetry import wall_clock
from stream_app.versions.columns import ids_to_tensors
from stream_app.versions.manifest import Envelope, Period, Rows
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import ModelVersion, build

PROCESSES, USERS, ITEMS, WIDTH = 8, 12_900_000, 1_000_000, 16
PATIENCE = 600.0
MB = 1e6
Process = subprocess.Popen[str]
Child = tuple[int, IO[str], IO[str]]
"""A process, what it is asked through, and what it answers through."""


def run() -> dict[str, Any]:
    """Processes that were started each for itself, and processes that were forked when all was imported."""
    found = {how: measured(how) for how in ("started", "forked")}
    bounds = {}
    for how, one in found.items():
        model, derived = one["model_mb"], one["derived_mb"]
        mapped, serving = (model + derived) / PROCESSES, max(one["serving"], one["after_the_swap"])
        bounds[f"{how}: 1/8 of model and derived + 40 MB ({mapped + 40:.0f})"] = serving <= mapped + 40
    alone = model / PROCESSES + 40
    bounds[f"forked: 1/8 model + 40 MB, derived and all ({alone:.0f})"] = serving <= alone
    return {"mb_per_process": found, "bounds": bounds}


def measured(how: str) -> dict[str, Any]:
    """Two versions, written by a process of its own while the eight look."""
    with tempfile.TemporaryDirectory() as cache:
        written(cache, 1)
        with Serving(cache, how) as serving:
            serving.ask(1)
            before = max(serving.megabytes())
            with Peak(serving) as peak:
                second = written(cache, 2)
                ready = max(serving.ask(2))
            after = max(serving.megabytes())
    return {
        "model_mb": second["model_mb"],
        "derived_mb": second["derived_mb"],
        "seconds_to_write": second["seconds"],
        "seconds_until_all_have_swapped": round(ready - second["ended"], 2),
        "serving": before,
        "mean_while_swapping": peak.mean,
        "after_the_swap": after,
    }


def written(cache: str, number: int) -> dict[str, Any]:
    """What the process that writes says of itself."""
    said, _ = started("write", cache, str(number)).communicate(timeout=PATIENCE)
    told: dict[str, Any] = json.loads(said)
    return told


class Serving:
    """The eight, and the process that has started them."""

    def __init__(self, cache: str, how: str) -> None:
        self._host = started("host", cache, how)
        self._processes: list[int] = self._told()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *error: object) -> None:
        self._host.communicate(timeout=PATIENCE)

    def ask(self, number: int) -> list[float]:
        """When each of them had the version, in seconds since 1970."""
        assert self._host.stdin is not None
        self._host.stdin.write(f"{number}\n")
        self._host.stdin.flush()
        times: list[float] = self._told()
        return times

    def megabytes(self) -> list[float]:
        """Proportional set size of each."""
        return [_proportional(process) for process in self._processes]

    def _told(self) -> Any:
        assert self._host.stdout is not None
        return json.loads(self._host.stdout.readline())


class Peak:
    """The largest mean of `Serving.megabytes` meanwhile, looked at five times a second."""

    def __init__(self, serving: Serving) -> None:
        self.mean, self._serving, self._stop = 0.0, serving, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            self.mean = max(self.mean, round(sum(self._serving.megabytes()) / PROCESSES, 1))


def started(*arguments: str) -> Process:
    """This module in a process of its own, with one thread for numpy."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.prove.{Path(__file__).stem}", *arguments],
        cwd=Path(__file__).parents[2],
        env=os.environ | threads,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def host(cache: str, how: str) -> None:
    """In a process of its own: starts the eight, passes on what they are asked and what they say; ends them."""
    children = [(_started_child if how == "started" else _forked_child)(cache) for _ in range(PROCESSES)]
    print(json.dumps([process for process, _, _ in children]), flush=True)
    for line in sys.stdin:
        for _, ask, _ in children:
            ask.write(line)
            ask.flush()
        print(json.dumps([float(told.readline()) for _, _, told in children]), flush=True)
    for process, _, _ in children:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _started_child(cache: str) -> Child:
    process = started("serve", cache)
    assert process.stdin is not None
    assert process.stdout is not None
    return process.pid, process.stdin, process.stdout


def _forked_child(cache: str) -> Child:
    (reads, ask), (told, says) = os.pipe(), os.pipe()
    process = os.fork()
    if not process:
        os.dup2(reads, sys.stdin.fileno())
        os.dup2(says, sys.stdout.fileno())
        serve(cache)
    return process, os.fdopen(ask, "w"), os.fdopen(told)


def write(cache: str, number: str) -> None:
    """In a process of its own: makes a version and writes it."""
    version = large(int(number))
    model = ServingModel(version)
    begin = time.perf_counter()
    with CacheWriter(cache, keep=0) as writer:
        writer.write(model, Manifest(version.content, version.content_bytes, Envelope(model="default")))
    told = {
        "seconds": round(time.perf_counter() - begin, 2),
        "ended": wall_clock(),
        "model_mb": round(version.content.size / MB, 1),
        "derived_mb": round(sum(array.nbytes for array in model.derived.values()) / MB, 1),
    }
    print(json.dumps(told))


def serve(cache: str) -> None:
    """In a process of its own: says when it has the versions that it is asked for, all of which it has touched then."""
    with ModelSubscriber(SubscriberSettings(cache=Path(cache), poll=0.05)) as subscriber:
        for line in sys.stdin:
            model = subscriber.wait(PATIENCE, int(line))
            had = wall_clock()
            for array in (*model.version.tensors.values(), *model.derived.values()):
                array.reshape(-1).view(np.uint8)[::4096].sum()
            model.score(1, [1, 2, 3], [4])
            model.recommend(1, 10)
            del model
            print(had, flush=True)


def large(number: int) -> ModelVersion:
    """Embedding & MLP with wide tables; ids of users in a row order that says nothing."""
    draw = np.random.default_rng(number)

    def weights(*shape: int) -> NDArray[np.float32]:
        return draw.random(shape, np.float32) - np.float32(0.5)

    tensors = {
        "parameters.user": weights(USERS + 1, WIDTH),
        "parameters.item": weights(ITEMS + 1, WIDTH),
        "parameters.w1": weights(3 * WIDTH, 12),
        "parameters.b1": weights(12),
        "parameters.w2": weights(12, 1),
        "parameters.b2": weights(1),
        **ids_to_tensors("users", draw.permutation(2 * USERS)[:USERS]),
        **ids_to_tensors("items", draw.permutation(2 * ITEMS)[:ITEMS]),
    }
    period, rows = Period(number=number, start=0, end=1, interactions=1), Rows(count=1, sha256="0" * 64)
    learning = {"settings_digest": "0" * 64, "method": "iu", "base_model": "embedding-mlp"}
    return build(number, "" if number == 1 else "0" * 64, period, rows, learning, {}, {}, {}, tensors)


def _proportional(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / MB, 1)


if __name__ == "__main__":
    {"write": write, "host": host, "serve": serve}[sys.argv[1]](*sys.argv[2:])

"""The FastAPI example under load: 8 workers over one cache, a real HTTP client, versions swapped meanwhile.

Users are drawn anew for each request, `/recommend` asks for the 10 best of 46,033 items. Clients run closed loop, so
that the machine is always full: latencies are those of saturation, client and server share its cores. `/health`, asked
in the same way, is the floor of HTTP and FastAPI.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.prove.serving_latency import GLOBO, USERS, kinds_of_ids, version
from stream_app.serving.model import ServingModel
from stream_app.subscriber.cache import CacheWriter
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import ModelVersion, build

WORKERS, CLIENTS, SECONDS, SWAP_EVERY = 8, 8, 20.0, 0.5
ROOT = Path(__file__).parents[2]


def run() -> dict[str, Any]:
    """Floor, then without swaps, then with; and what each worker holds in memory at the end."""
    first = version(kinds_of_ids(GLOBO)["dense integers"])
    with tempfile.TemporaryDirectory() as folder, CacheWriter(Path(folder, "cache")) as writer:
        put(writer, first)
        with service(Path(folder)) as (url, pids):
            asyncio.run(until_all_serve(url))
            floor = asyncio.run(loaded(url, "/health"))
            still = asyncio.run(loaded(url, "/recommend"))
            with swapping(writer, first) as swaps:
                swapped = asyncio.run(loaded(url, "/recommend"))
            memory = [pss(pid) for pid in pids()]
    failed = floor.pop("failed") + still.pop("failed") + swapped.pop("failed")
    return {
        "workers": WORKERS,
        "clients": CLIENTS,
        "items": GLOBO,
        "model_mb": round(first.content.size / 1e6, 2),
        "floor, GET /health": floor,
        "GET /recommend, no swaps": still,
        "GET /recommend, swaps": swapped | {"swaps": swaps["written"]},
        "pss_mb_per_worker": {"mean": round(float(np.mean(memory)), 1), "largest": round(max(memory), 1)},
        "failed": failed,
        "bounds": {
            "no failed request": failed == 0,
            "several versions answered": swapped["versions"] > 1,
            "each answer names a version that was written": swapped["newest"] <= swaps["written"] + 1,
        },
    }


def put(writer: CacheWriter, model: ModelVersion) -> None:
    """As the one process that listens to Kafka does."""
    manifest = Manifest.unpack(Manifest.pack(model.content_bytes, Envelope(model="default", epoch=1)), model.number)
    writer.write(ServingModel(model), manifest)


@contextmanager
def swapping(writer: CacheWriter, first: ModelVersion) -> Iterator[dict[str, int]]:
    """Writes a new version every half second."""
    done, count = threading.Event(), {"written": 0}

    def write() -> None:
        before = first
        while not done.wait(SWAP_EVERY):
            before = following(before)
            put(writer, before)
            count["written"] += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield count
    finally:
        done.set()
        thread.join()


def following(before: ModelVersion) -> ModelVersion:
    """The next version: other probabilities, the same items."""
    content, number = before.content, before.number + 1
    period = content.period.model_copy(update={"number": number})
    tensors = dict(before.tensors) | {"parameters.b3": np.array([0.01 * number], np.float32)}
    return build(number, before.digest, period, content.rows, content.learning, {}, {}, {}, tensors)


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, Any]]:
    """The example as its README starts it: its address, and a function that gives the workers' process ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "metrics").mkdir()
    environment = os.environ | {
        "ASMG_SUBSCRIBER__CACHE": str(folder / "cache"),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "examples.serving_fastapi.service:make_app"]
    command += ["--workers", str(WORKERS), "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        yield f"http://127.0.0.1:{port}", lambda: workers_of(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def workers_of(parent: int) -> list[int]:
    """Those of its children that have loaded the service; the others only keep books."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()]


async def until_all_serve(url: str) -> None:
    """Each worker has begun to serve the first version."""
    async with httpx.AsyncClient(base_url=url) as client:
        for _ in range(600):
            try:
                if f"recommend_swaps_total {float(WORKERS)}" in (await client.get("/metrics")).text:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError("the workers did not begin to serve within 60 s")


async def loaded(url: str, path: str) -> dict[str, Any]:
    """What CLIENTS clients see in SECONDS, each with a connection of its own that is kept open."""
    end = time.perf_counter() + SECONDS
    seen = [
        one for found in await asyncio.gather(*(_client(url, path, n, end) for n in range(CLIENTS))) for one in found
    ]
    milliseconds = np.array([one[0] for one in seen]) * 1000
    versions = {one[2] for one in seen}
    p50, p99 = (round(float(value), 2) for value in np.quantile(milliseconds, [0.5, 0.99]))
    return {
        "requests": len(seen),
        "per_second": round(len(seen) / SECONDS),
        "p50_ms": p50,
        "p99_ms": p99,
        "longest_ms": round(float(milliseconds.max()), 1),
        "failed": sum(not one[1] for one in seen),
        "versions": len(versions),
        "newest": max(versions),
    }


async def _client(url: str, path: str, number: int, end: float) -> list[tuple[float, bool, int]]:
    """Of each request: seconds, whether it was answered well, the version that it names."""
    draw, seen = np.random.default_rng(number), []
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        while (begin := time.perf_counter()) < end:
            try:
                answer = await client.get(path, params={"user": int(draw.integers(USERS)), "k": 10})
                said = answer.json()
                good = answer.status_code == 200 and (path != "/recommend" or len(said["items"]) == 10)
            except httpx.HTTPError:
                good, said = False, {"version": 0}
            seen.append((time.perf_counter() - begin, good, said.get("version", 0)))
    return seen


def pss(pid: int) -> float:
    """Proportional set size in MB: private memory, and of what is shared one's part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000

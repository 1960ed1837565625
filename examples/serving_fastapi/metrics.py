"""Metrics of the service in Prometheus' text format; with several processes, of all of them.

Set PROMETHEUS_MULTIPROC_DIR to an empty directory before the processes start: each writes its numbers there, and
whichever is asked adds them up (prometheus-client's multiprocess mode).
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = Histogram(
    "recommend_request_seconds",
    "From the request's head to the answer's",
    ["path", "status"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1),
)
VERSION = Gauge("recommend_model_version", "Oldest version that a process serves", multiprocess_mode="livemin")
SWAPS = Counter("recommend_swaps", "Versions that began to serve, in all processes")
REFUSALS = Counter("recommend_refusals", "Versions and messages refused, in all processes")


def swapped(version: int) -> None:
    """A version began to serve."""
    VERSION.set(version)
    SWAPS.inc()


def refused() -> None:
    """A version or message was refused."""
    REFUSALS.inc()


async def timed(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """A middleware that times every request; paths that do not exist count as one."""
    begun = time.perf_counter()
    response = await answer(request)
    route = request.scope.get("route")
    path = getattr(route, "path", "none")
    SECONDS.labels(path, response.status_code).observe(time.perf_counter() - begun)
    return response


def page() -> tuple[bytes, int, None, str]:
    """Body, status, headers and type of the answer to a scrape."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), 200, None, CONTENT_TYPE_LATEST

"""The example of a web service: real uvicorn processes over one cache, a real HTTP client."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from simulators import chain, envelope

from stream_app.serving.model import ServingModel
from stream_app.subscriber.cache import CacheWriter
from stream_app.versions.messages import Manifest

CHAIN = chain(3)
PATIENCE = 60.0


def put(writer: CacheWriter, number: int) -> None:
    version = CHAIN[number - 1]
    manifest = Manifest.unpack(Manifest.pack(version.content_bytes, envelope()), number)
    writer.write(ServingModel(version), manifest)


@contextmanager
def service(cache: Path, workers: int, **more: str) -> Iterator[httpx.Client]:
    """The service as its README starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    metrics = cache.parent / "metrics"
    metrics.mkdir(exist_ok=True)
    environment = os.environ | {
        "ASMG_SUBSCRIBER__CACHE": str(cache),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "OMP_NUM_THREADS": "1",
        **more,
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "examples.serving_fastapi.service:make_app"]
    command += ["--workers", str(workers), "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(command, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            yield client
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) in (0, -signal.SIGTERM)


def health_once(client: httpx.Client, wanted: int) -> httpx.Response:
    """The answer of /health, as soon as it has this status."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = client.get("/health")
            if found.status_code == wanted:
                return found
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"gave up waiting for {wanted}"
        time.sleep(0.1)


def until_all_serve(client: httpx.Client, version: int) -> None:
    """Blocks until the oldest version that any worker serves is this one."""
    deadline = time.monotonic() + PATIENCE
    while f"recommend_model_version {float(version)}" not in client.get("/metrics").text:
        assert time.monotonic() < deadline, f"gave up waiting for version {version}"
        time.sleep(0.1)


def test_it_answers_by_the_version_that_it_names_and_swaps_between_requests(tmp_path: Path) -> None:
    with CacheWriter(tmp_path / "cache") as writer, service(tmp_path / "cache", workers=2) as client:
        assert health_once(client, 503).json()["state"] == "waiting"
        assert client.get("/recommend", params={"user": 11}).status_code == 503
        for number in (1, 2, 3):
            put(writer, number)
            deadline = time.monotonic() + PATIENCE
            while True:  # two workers: each swaps for itself, and every answer is of one version
                answer = client.get("/recommend", params={"user": 11, "k": 2, "exclude": [9]})
                if answer.status_code == 200:
                    said = answer.json()
                    best = ServingModel(CHAIN[said["version"] - 1]).recommend(11, 2, exclude=[9])
                    assert (said["items"], said["probabilities"]) == (best.items, best.probabilities.tolist())
                    if said["version"] == number:
                        break
                assert time.monotonic() < deadline, f"gave up waiting for version {number}"
        until_all_serve(client, 3)
        asked = {"user": 11, "items": [3, 2, 777], "history": [4]}
        said = client.post("/score", json=asked).json()
        assert said == {"version": 3, "probabilities": ServingModel(CHAIN[2]).score(11, [3, 2, 777], [4]).tolist()}
        assert 'recommend_request_seconds_count{path="/recommend",status="200"}' in client.get("/metrics").text


@pytest.mark.parametrize("query", [{"user": "somebody"}, {"user": 11, "k": 0}, {"user": 11, "exclude": ["x"]}, {}])
def test_a_wrong_question_is_told_and_the_next_one_answered(tmp_path: Path, query: dict[str, object]) -> None:
    from fastapi.testclient import TestClient

    from examples.serving_fastapi.service import make_app
    from stream_app.subscriber import SubscriberSettings

    with CacheWriter(tmp_path / "cache") as writer:
        put(writer, 1)
    with TestClient(make_app(SubscriberSettings(cache=tmp_path / "cache", poll=0.01))) as client:
        health_once(client, 200)
        assert client.get("/recommend", params=query).status_code == 422
        assert client.post("/score", json={"user": "a", "items": ["b"]}).status_code == 422
        assert client.get("/recommend", params={"user": 11}).json()["version"] == 1


def test_the_folder_works_wherever_it_is_copied_to(tmp_path: Path) -> None:
    shutil.copytree("examples/serving_fastapi", tmp_path / "recommendations")
    code = "from recommendations.service import make_app; from recommendations import metrics; print(metrics.__file__)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(tmp_path / "recommendations" / "metrics.py")


def test_what_is_stale_is_not_served_where_that_is_asked_for(tmp_path: Path) -> None:
    """The envelope of these versions does not say when they were sent: they age from their swap on."""
    with CacheWriter(tmp_path / "cache") as writer:
        put(writer, 1)
    stale = {"ASMG_SUBSCRIBER__STALE_AFTER": "0.3", "ASMG_SUBSCRIBER__WHEN_STALE": "refuse"}
    with service(tmp_path / "cache", workers=1, **stale) as client:
        deadline = time.monotonic() + PATIENCE
        while not health_once(client, 503).json()["stale"]:
            assert time.monotonic() < deadline
        refused = client.get("/recommend", params={"user": 11})
        assert refused.status_code == 503
        assert "version 1" in refused.json()["detail"]

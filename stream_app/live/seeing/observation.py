"""What an operator's tools see of a running worker, on 127.0.0.1: `/metrics`, `/healthz` and `/readyz`.

1. The supervisor serves. Its children write what they count into files of a temporary folder, one for each name.
2. No answer waits for a broker: one thread asks it, and what it last said is shown.
3. `/healthz`: every child runs and none is restarted again and again. `/readyz`: besides, the broker answers, the
   children have joined their groups and the trainer has begun; one that stands by is ready.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from prometheus_client import CollectorRegistry, multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stream_app import wire
from stream_app.errors import SettingsError
from stream_app.live.children import Children
from stream_app.live.seeing.broker_look import BrokerWatch
from stream_app.live.seeing.metrics import ASSIGNED, DIRECTORY, PROCESS
from stream_app.live.seeing.status import status_of
from stream_app.live.seeing.status_metrics import StatusMetrics
from stream_app.live.training.trainer_status import read_status
from stream_app.live.worker_settings import WorkerSettings
from stream_app.versions import manifest

_HOST = "127.0.0.1"
_JSON = "application/json"
_SLOW_CLIENT = 10.0

Trouble = dict[str, str]
Answer = tuple[int, str, bytes]
"""Status code, content type, body."""


@contextmanager
def observed(settings: WorkerSettings, names: Sequence[str]) -> Iterator[Children]:
    """Serves while the block runs; yields what the supervisor is to tell. Nothing is served where the port is 0.

    names: of the children. Raises SettingsError when the port is taken.
    """
    if not settings.metrics.port:
        yield Children(names)
        return
    dead: Callable[[str, str], None] = multiprocess.mark_process_dead
    with TemporaryDirectory(prefix="asmg-metrics-") as folder, closing(BrokerWatch(settings)) as broker:
        children = Children(names, lambda name: {DIRECTORY: folder, PROCESS: name}, lambda name: dead(name, folder))
        with _serving(settings.metrics.port, Observation(settings, children, broker, folder)):
            yield children


class Observation:
    """Puts the answers together; each may be asked for by any thread."""

    def __init__(self, settings: WorkerSettings, children: Children, broker: BrokerWatch, folder: str) -> None:
        self._settings, self._children, self._broker = settings, children, broker
        self._registry = CollectorRegistry()
        counted: Any = multiprocess.MultiProcessCollector
        self._counted: Collector = counted(self._registry, folder)
        self._registry.register(_OfChildren(children))
        self._registry.register(StatusMetrics(lambda: status_of(settings, broker.last())))

    def answer(self, path: str, accept: str) -> Answer:
        """To a GET of `path`."""
        if path == "/metrics":
            encode, kind = choose_encoder(accept)
            return 200, kind, encode(self._registry)
        if path == "/healthz":
            return _verdict(self.health())
        if path == "/readyz":
            return _verdict([*self.health(), *self.unready()])
        return 404, "text/plain", b"/metrics, /healthz, /readyz\n"

    def health(self) -> list[Trouble]:
        """What is wrong with the children, in their own last words."""
        now = monotonic()
        return [
            {"child": state.name, "problem": problem, "said": state.said}
            for state in self._children.states()
            if (problem := state.trouble(now))
        ]

    def unready(self) -> Iterator[Trouble]:
        """What the worker still waits for."""
        if trouble := self._broker.last().trouble:
            yield {"problem": trouble}
        joined = {sample.labels["process"] for sample in self._samples(ASSIGNED)}
        for state in self._children.states():
            if state.name == "trainer":
                if read_status(self._settings.state_directory).process != state.process:
                    yield {"child": state.name, "problem": "has not begun yet"}
            elif state.name not in joined:
                yield {"child": state.name, "problem": "has not joined its consumer group yet"}

    def _samples(self, name: str) -> Iterator[Any]:
        return (sample for metric in self._counted.collect() for sample in metric.samples if sample.name == name)


class _OfChildren(Collector):
    """What the supervisor itself knows."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def collect(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("asmg_child_up", "Whether a child runs.", labels=("process",))
        for state in self._children.states():
            up.add_metric((state.name,), state.process is not None)
        ends = CounterMetricFamily("asmg_child_restarts", "Ends of children, by code.", labels=("process", "code"))
        for (name, code), count in self._children.codes().items():
            ends.add_metric((name, str(code)), count)
        build = GaugeMetricFamily("asmg_build_info", "This release.", labels=("version", "segments", "manifest"))
        build.add_metric((version("asmg-stream"), str(wire.FORMAT), str(manifest.FORMAT)), 1)
        return up, ends, build


def _verdict(troubles: list[Trouble]) -> Answer:
    said = {"status": "not ok" if troubles else "ok", "troubles": troubles}
    return 503 if troubles else 200, _JSON, json.dumps(said).encode() + b"\n"


@contextmanager
def _serving(port: int, observation: Observation) -> Iterator[None]:
    try:
        server = ThreadingHTTPServer((_HOST, port), partial(_Handler, observation))
    except OSError as error:
        raise SettingsError(
            "metrics.port", f"{_HOST}:{port} cannot be used: {error.strerror}", "name another port, or 0 for none"
        ) from error
    threading.Thread(target=server.serve_forever, name="observation", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "asmg", ""
    timeout = _SLOW_CLIENT

    def __init__(self, observation: Observation, *connection: Any) -> None:
        self._observation = observation
        super().__init__(*connection)

    def do_GET(self) -> None:
        code, kind, body = self._observation.answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Scrapes are routine."""

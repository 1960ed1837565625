"""`make demo`: the whole chain on a generated, drifting stream, in about two minutes.

A broker of its own, topics, a worker, a recording sent through Kafka, and a subscriber that scores without pause while
versions swap under it. Ends by itself and leaves nothing running. Where no Java can be had, the same chain by replay.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from models.interactions import Interactions
from stream_app.broker import KafkaSettings
from stream_app.report import draw_metrics
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.synthetic import drifting_stream
from stream_app.versions.scoring import ServingModel

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy" / "kafka-local"))

from broker import BrokerUnavailable, LocalBroker  # noqa: E402  (a script beside us, not an installed package)

INTERACTIONS, USERS, ITEMS = 80_000, 1_500, 800
PERIODS, PRETRAIN = 40, 10
COUNT = INTERACTIONS // PERIODS
RATE = 1_500
"""Interactions sent a second once pretraining has its periods: a period closes about every 1.3 s."""
DEADLINE = 170.0

SETTINGS = """\
# Written by `make demo`.
state_directory = "{out}/state"

[kafka]
bootstrap = "{bootstrap}"

[periods]
by = "count"
count = {count}
lateness = 60.0

[learning]
pretrain = {pretrain}
passes = 4
initialisations = 2
negatives = 1
"""


def main() -> int:
    """Run the demo; the exit code is 0 when every version was served."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "demo-out", help="emptied first")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    console = Console()
    stream = drifting_stream(INTERACTIONS, USERS, ITEMS, seed=1)
    recording = write_recording(stream, out / "stream.parquet")
    console.print(f"A generated stream of {len(stream):,} interactions, whose tastes drift: {recording}")
    try:
        broker = LocalBroker(out / "broker")
        broker.start()
    except BrokerUnavailable as error:
        console.print(f"[yellow]{error}\nWithout a broker, the same chain by replay:")
        return asmg(out, "replay", str(recording), "--periods", str(PERIODS), "--out", str(out / "replay"))
    with contextlib.closing(broker):
        return through_kafka(out, broker.bootstrap, stream, recording, console)


def through_kafka(out: Path, bootstrap: str, stream: Interactions, recording: Path, console: Console) -> int:
    """Worker, producer and subscriber against the broker at `bootstrap`."""
    settings = SETTINGS.format(out=out, bootstrap=bootstrap, count=COUNT, pretrain=PRETRAIN)
    (out / "asmg.toml").write_text(settings)
    asmg(out, "topics", "create")
    log = out / "worker.log"
    expected = PERIODS - PRETRAIN + 1
    subscriber_settings = SubscriberSettings(kafka=KafkaSettings(bootstrap=bootstrap))
    view = View(stream, expected)
    with (
        background(out, log, "worker"),
        background(out, out / "produce.log", "produce", str(recording), "--rate", str(RATE), "--end"),
        ModelSubscriber(subscriber_settings, on_swap=view.swapped) as subscriber,
        scoring(subscriber, view),
        Live(view.table(), console=console, refresh_per_second=4) as live,
    ):
        begin = time.monotonic()
        while view.served < expected and time.monotonic() - begin < DEADLINE:
            time.sleep(0.25)
            live.update(view.table(subscriber.health().stage))
    (out / "report.json").write_text(json.dumps(view.report(), indent=1))
    draw_metrics(view.periods, out / "metrics.png")
    console.print(view.summary())
    console.print(f"Report: {out / 'report.json'}\nPicture: {out / 'metrics.png'}\nWorker's log: {log}")
    if view.served < expected:
        console.print(f"[red]only {view.served} of {expected} versions were served in {DEADLINE:.0f} s; see {log}")
        return 1
    return 0


class View:
    """What the demo shows: a row per version, and how the subscriber's readers fare."""

    def __init__(self, stream: Interactions, expected: int) -> None:
        self.users, self.items, self.expected = np.unique(stream.users), np.unique(stream.items), expected
        self.periods: list[dict[str, object]] = []
        self.delays: list[float] = []
        self.calls = 0
        self.longest = 0.0

    @property
    def served(self) -> int:
        """Versions that the subscriber has served."""
        return len(self.periods)

    def swapped(self, model: ServingModel) -> None:
        """Called by the subscriber after each swap."""
        content, envelope = model.version.content, model.envelope
        closed = float(envelope.times["closed"])
        self.delays.append(time.time() - closed)
        candidates = {
            name: scores.model_dump() for name, scores in content.metrics.items() if scores is not None
        }
        self.periods.append(
            {
                "period": content.period.number,
                "version": content.version,
                "digest": model.version.digest,
                "serving": content.learning["method"],
                "candidates": candidates,
                "seconds": {"close to served": self.delays[-1]},
            }
        )

    def table(self, stage: str = "") -> Group:
        """The last periods, and a line about the readers."""
        table = Table(title="Every period is scored by the model that served it, then learned")
        for column in ("period", "version", "served model, AUC", "plain incremental, AUC", "close to served"):
            table.add_column(column, justify="right")
        for row, delay in list(zip(self.periods, self.delays, strict=True))[-12:]:
            scores = row["candidates"]
            assert isinstance(scores, dict)
            auc = [f"{scores[name]['auc']:.4f}" if name in scores else "-" for name in (row["serving"], "iu")]
            table.add_row(str(row["period"]), str(row["version"]), *auc, f"{delay:.2f} s")
        state = f"{self.served}/{self.expected} versions" if self.periods else (stage or "waiting for the first version")
        readers = f"{self.calls:,} scoring calls of 100 items, longest {1000 * self.longest:.1f} ms"
        return Group(table, Text(f"{state}; {readers}"))

    def summary(self) -> str:
        """The mean over the periods that were scored, and the delays."""
        scored = [row["candidates"] for row in self.periods if row["candidates"]]
        names = list(scored[-1]) if scored else []
        means = {name: float(np.mean([scores[name]["auc"] for scores in scored])) for name in names}
        auc = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        delay = f"{np.median(self.delays):.2f} s" if self.delays else "-"
        return f"Mean AUC over {len(scored)} periods: {auc}. Period close to served, median: {delay}."

    def report(self) -> dict[str, object]:
        """What is written to report.json."""
        return {"periods": self.periods, "scoring_calls": self.calls, "longest_call_seconds": self.longest}


@contextlib.contextmanager
def scoring(subscriber: ModelSubscriber, view: View) -> Iterator[None]:
    """A reader at full speed beside the swaps, as a serving process would be."""
    stop = threading.Event()

    def read() -> None:
        draw = np.random.default_rng(0)
        while not stop.is_set():
            model = subscriber.model
            if model is None:
                stop.wait(0.1)
                continue
            user, items = int(draw.choice(view.users)), draw.choice(view.items, 100)
            begin = time.perf_counter()
            probabilities = model.score(user, items)
            view.longest = max(view.longest, time.perf_counter() - begin)
            view.calls += len(probabilities) == 100
            stop.wait(0.002)

    thread = threading.Thread(target=read, name="reader")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def background(out: Path, log: Path, *arguments: str) -> Iterator[None]:
    """`asmg ARGUMENTS` beside us, ended with SIGTERM when we leave."""
    with log.open("w") as stream:
        process = subprocess.Popen(command(out, *arguments), stdout=stream, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)


def asmg(out: Path, *arguments: str) -> int:
    """Runs one `asmg` command to its end. Raises CalledProcessError when it fails."""
    return subprocess.run(command(out, *arguments), check=True).returncode


def command(out: Path, *arguments: str) -> list[str]:
    """The command line of `asmg`, with the demo's settings where there are any."""
    config = out / "asmg.toml"
    given = ["--config", str(config)] if config.exists() else []
    return [sys.executable, "-m", "stream_app.cli", *given, *arguments]


def write_recording(stream: Interactions, path: Path) -> Path:
    """The stream as a Parquet recording, times in seconds."""
    columns = {
        "user_id": stream.users,
        "item_id": stream.items,
        "timestamp": stream.times // 1_000_000,
        "label": stream.labels,
    }
    parquet.write_table(pyarrow.table(columns), path)
    return path


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())

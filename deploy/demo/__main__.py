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
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.live import Live

from deploy.demo.view import Reader, View
from stream_app.broker import KafkaSettings
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy" / "kafka-local"))

from broker import JavaMissing, LocalBroker  # noqa: E402  (a script beside us, which is no package)

INTERACTIONS = 60_000
STREAM = ("--users", "1500", "--items", "800", "--drift", "sudden,gradual", "--implicit", "--seed", "1")
PERIODS, PRETRAIN = 30, 8
RATE = 1_000
"""Interactions a second: a period closes every 2 s."""
DEADLINE = 150.0

MODEL = f"demo-{os.getpid()}"
"""Also in the names of the topics: the broker may be one that others use."""

KAFKA = """
[kafka]
bootstrap = "{bootstrap}"

[topics]
interactions = "{model}-interactions"
segments = "{model}-segments"
models = "{model}-models"
dead_letters = "{model}-dead-letters"
"""

SETTINGS = """\
# Written by `make demo`.
state_directory = "{out}/state"
model = "{model}"
{kafka}
[periods]
by = "count"
count = {count}

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
    out = parser.parse_args().out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    console = Console()
    write_settings(out)
    recording = out / "stream.parquet"
    asmg(out, "generate", str(recording), "--interactions", str(INTERACTIONS), *STREAM)
    try:
        with bootstrap_address(out) as bootstrap:
            write_settings(out, bootstrap)
            return through_kafka(out, bootstrap, recording, console)
    except JavaMissing as missing:
        console.print(f"{missing}\n\nWithout a broker, the same chain by replay:", style="yellow")
        asmg(out, "replay", str(recording), "--out", str(out / "replay"))
        return 0


def through_kafka(out: Path, bootstrap: str, recording: Path, console: Console) -> int:
    """Worker, producer, subscriber and reader against the broker at `bootstrap`."""
    asmg(out, "topics", "create")
    view = View(expected=PERIODS - PRETRAIN + 1)
    settings = SubscriberSettings(KafkaSettings(bootstrap=bootstrap), topic=f"{MODEL}-models", model=MODEL)
    subscriber = ModelSubscriber(settings, on_swap=lambda model: view.swapped(model, subscriber.health().times))
    with subscriber, Reader(subscriber, recording) as reader:
        with background(out, "worker"), background(out, "produce", str(recording), "--rate", str(RATE), "--end"):
            follow(view, subscriber, reader, console)
        calls = {"calls": reader.calls, "longest_seconds": reader.longest, "refusals": subscriber.health().refusals}
    report = {"periods": [asdict(result) for result in view.results], "reader": calls}
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    view.draw(out / "metrics.png")
    console.print(f"\n{view.summary()}")
    console.print(f"report: {out / 'report.json'}  picture: {out / 'metrics.png'}  log: {out / 'worker.log'}")
    if len(view.results) < view.expected:
        console.print(f"Only {len(view.results)} of {view.expected} versions came in {DEADLINE:.0f} s.", style="red")
        return 1
    return 0


def follow(view: View, subscriber: ModelSubscriber, reader: Reader, console: Console) -> None:
    """Show the table until all versions are served, or the time is up."""
    end = time.monotonic() + DEADLINE
    with Live(view.table("", reader), console=console, refresh_per_second=4) as live:
        while len(view.results) < view.expected and time.monotonic() < end:
            time.sleep(0.25)
            live.update(view.table(subscriber.health().stage, reader))


@contextlib.contextmanager
def bootstrap_address(out: Path) -> Iterator[str]:
    """The broker that KAFKA_BOOTSTRAP names, else one of our own that ends with us. Raises JavaMissing."""
    if given := os.environ.get("KAFKA_BOOTSTRAP"):
        yield given
        return
    with LocalBroker(out / "broker") as broker:
        yield broker.bootstrap


@contextlib.contextmanager
def background(out: Path, *arguments: str) -> Iterator[None]:
    """`asmg ARGUMENTS` beside us, its words in a log, ended with SIGTERM when we leave."""
    with (out / f"{arguments[0]}.log").open("w") as log:
        process = subprocess.Popen(command(out, *arguments), stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=10)


def asmg(out: Path, *arguments: str) -> None:
    """Run one `asmg` command to its end. Raises CalledProcessError when it fails."""
    subprocess.run(command(out, *arguments), check=True)


def command(out: Path, *arguments: str) -> list[str]:
    """The command line of `asmg` with the demo's settings."""
    return [sys.executable, "-m", "stream_app.cli", "--config", str(out / "asmg.toml"), *arguments]


def write_settings(out: Path, bootstrap: str | None = None) -> None:
    """The settings file that every command of the demo reads."""
    kafka = KAFKA.format(bootstrap=bootstrap, model=MODEL) if bootstrap else ""
    text = SETTINGS.format(out=out, model=MODEL, kafka=kafka, count=INTERACTIONS // PERIODS, pretrain=PRETRAIN)
    (out / "asmg.toml").write_text(text)


if __name__ == "__main__":
    sys.exit(main())

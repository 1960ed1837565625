"""yelp2019 through a real broker, 4 partitions keyed by user, 2 collectors: every version's content is the replay's.

The comparison is made by `benchmarks/plain_client.py`, which imports nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from benchmarks.local_broker import LocalBroker
from benchmarks.machine import recordings
from stream_app.live.cluster.topics import TopicSettings

PERIODS, PRETRAIN = 31, 10
LIMIT = 3600.0
SETTINGS = """\
collectors = 2
state_directory = "{folder}/state"
[kafka]
bootstrap = "{bootstrap}"
[topics]
partitions = 4
[periods]
by = "count"
count = {count}
[publish]
keep = 0
[learning]
pretrain = {pretrain}
negatives = 1
"""


def run() -> dict[str, Any]:
    """Replay, then the same through Kafka, then the plain client's verdict."""
    recording = recordings() / "yelp2019.parquet"
    count = parquet.read_metadata(recording).num_rows // PERIODS
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker:
        folder = Path(name)
        config = folder / "asmg.toml"
        text = SETTINGS.format(folder=folder, bootstrap=broker.bootstrap, count=count, pretrain=PRETRAIN)
        config.write_text(text)
        asmg(config, "replay", str(recording), "--out", str(folder / "replay"))
        asmg(config, "topics", "create")
        seconds = through_kafka(config, recording, PERIODS - PRETRAIN + 1)
        verdict = plain_client(broker.bootstrap, folder / "replay" / "versions", recording, count)
    return {
        **verdict,
        "seconds_through_kafka": seconds,
        "bounds": {"all versions have equal content": verdict["equal_content"] == PERIODS - PRETRAIN + 1},
    }


def through_kafka(config: Path, recording: Path, versions: int) -> float:
    """Send the recording to a worker and wait for its versions; seconds from the first record to the last version."""
    with (config.parent / "worker.log").open("w") as log:
        worker = subprocess.Popen(command(config, "worker"), stdout=log, stderr=log)
        try:
            begin = time.perf_counter()
            asmg(config, "produce", str(recording), "--end")
            subprocess.run(command(config, "subscribe", "--until", str(versions)), check=True, timeout=LIMIT)
            return round(time.perf_counter() - begin, 1)
        finally:
            worker.terminate()
            worker.wait(timeout=30)


def plain_client(
    bootstrap: str, directory: Path, recording: Path, count: int, topics: TopicSettings | None = None
) -> dict[str, Any]:
    """What the plain client says of versions and rows; raises CalledProcessError when something differs."""
    names = topics or TopicSettings()
    script = Path(__file__).parents[1] / "plain_client.py"
    arguments = ["--bootstrap", bootstrap, "--topic", names.models, "--directory", str(directory)]
    arguments += ["--recording", str(recording), "--count", str(count), "--interactions", names.interactions]
    arguments += ["--segments", names.segments, "--dead-letters", names.dead_letters]
    done = subprocess.run([sys.executable, str(script), *arguments], check=True, stdout=subprocess.PIPE, text=True)
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


def asmg(config: Path, *arguments: str) -> None:
    """Run one `asmg` command. Raises CalledProcessError when it fails."""
    subprocess.run(command(config, *arguments), check=True, stdout=subprocess.DEVNULL)


def command(config: Path, *arguments: str) -> Sequence[str]:
    """The command line of `asmg` with these settings."""
    return [sys.executable, "-m", "stream_app.cli", "--config", str(config), *arguments]

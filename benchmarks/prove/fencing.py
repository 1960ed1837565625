"""Five workers on state directories of their own, one model, one topic: one history, the replay's, whatever happens.

The first 80,000 rows of yelp2019 through a real broker: a worker is stopped as a whole after its chunks and before its
manifest, replaced by one with an empty directory, resumed, takes over again with its old directory, is replaced by one
with a copy of that directory made many versions before; then a worker with a window of its own joins, at last one with
another seed.
"""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from benchmarks.kill_plan import Moment
from benchmarks.local_broker import LocalBroker
from benchmarks.machine import recordings
from benchmarks.prove.kafka_equals_replay import asmg, plain_client
from benchmarks.whole_worker import PATIENCE, WholeWorker, check_history, until
from stream_app.broker import KafkaSettings
from stream_app.events.record import RecordSettings
from stream_app.live.state_directory import STORE
from stream_app.live.training.window_status import read_window
from stream_app.produce import produce
from stream_app.sinks.kafka import KafkaSink
from stream_app.store.view import StoreView
from stream_app.versions.messages import Manifest

COUNT, PRETRAIN, PERIODS = 4000, 4, 20
STOP = Moment("trainer", "before the manifest", "before it is sent", 3, "SIGSTOP")
SETTINGS = """\
state_directory = "{directory}"
[kafka]
bootstrap = "{bootstrap}"
window_group = "{group}"
[topics]
partitions = 4
[periods]
by = "count"
count = {count}
[publish]
keep = 0
[learning]
seed = {seed}
pretrain = {pretrain}
passes = 3
negatives = 1
"""


class Stage:
    """The topics, the workers on them, and the part of the recording that was sent."""

    def __init__(self, folder: Path, bootstrap: str, running: ExitStack) -> None:
        self.folder, self.bootstrap, self._running = folder, bootstrap, running
        self.recording, self._sent, self._due = folder / "recording.parquet", 0, 0
        self._table = parquet.read_table(recordings() / "yelp2019.parquet").slice(0, PERIODS * COUNT)
        parquet.write_table(self._table, self.recording)
        self._sink = KafkaSink(KafkaSettings(bootstrap), "asmg-models")
        config = self.settings("replay")
        asmg(config, "replay", str(self.recording), "--out", str(folder / "replay"))
        asmg(config, "topics", "create")

    def settings(self, name: str, group: str = "asmg-{model}-window", seed: int = 0) -> Path:
        """A settings file for a worker."""
        config = self.folder / f"{name}.toml"
        filled = {"directory": self.folder / name, "bootstrap": self.bootstrap, "group": group, "seed": seed}
        config.write_text(SETTINGS.format(count=COUNT, pretrain=PRETRAIN, **filled))
        return config

    def worker(self, name: str, *moments: Moment, **settings: Any) -> WholeWorker:
        """Starts one."""
        config = self.settings(name, **settings)
        return self._running.enter_context(WholeWorker(config, self.folder / name, moments))

    def send(self, periods: int, end: bool = False) -> None:
        """The next rows of the recording; the last period of them stays open, since more of it might come."""
        part = self.folder / "part.parquet"
        parquet.write_table(self._table.slice(self._sent, periods * COUNT), part)
        self._sent += periods * COUNT
        self._due = self._sent // COUNT - PRETRAIN + end
        produce(part, KafkaSettings(self.bootstrap), "interactions", RecordSettings(), end=end)

    def manifests(self) -> list[Manifest]:
        """Those of the topic, in its order."""
        return [Manifest.unpack(value) for key, value in self._sink.read() if key and value and b"/man" in key]

    def all_there(self) -> float:
        """Waits for every version that can be made of what was sent; the seconds that took."""
        return until(lambda: len(self.manifests()) >= self._due, f"version {self._due}")


def run() -> dict[str, Any]:
    """Everything in turn, on one topic."""
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker, ExitStack() as running:
        stage = Stage(Path(name), broker.bootstrap, running)
        first, second, seconds = replaced_and_resumed(stage)
        lives_on = first.process.poll() is None and not read_window(first.directory).active
        seconds["from SIGKILL to a version, old directory"] = taken_over_again(stage, first, second)
        third, seconds["from SIGKILL to a version, directory copied long before"] = behind(stage, first)
        loser, seconds["from the fencing to exit code 3"] = two_windows(stage, third)
        other = other_seed(stage)
        history = stage.manifests()
        check_history(history)
        verdict = plain_client(broker.bootstrap, stage.folder / "replay" / "versions", stage.recording, COUNT)
    return {
        **{key: verdict[key] for key in ("versions", "equal_content")},
        "epochs": [manifest.envelope.epoch for manifest in history],
        "seconds_waited": {what: round(took, 1) for what, took in seconds.items()},
        "loser": loser,
        "other_seed": other,
        "bounds": {
            "every version once, each the child of the one before, and the replay's": verdict["equal_content"]
            == PERIODS - PRETRAIN + 1,
            "the resumed worker stands by": lives_on,
            "of two workers with windows of their own one ends with 3 within 30 s": "epoch" in loser
            and seconds["from the fencing to exit code 3"] < 30,
            "another seed ends with 3 and sends nothing": "different data, settings or machines" in other,
        },
    }


def replaced_and_resumed(stage: Stage) -> tuple[WholeWorker, WholeWorker, dict[str, float]]:
    """The first worker stops before its third manifest; the second begins with nothing; the first comes back."""
    first = stage.worker("first", STOP)
    until(lambda: read_window(first.directory).active, "the first worker has the window")
    second = stage.worker("second")
    stage.send(8)
    first.stop_itself()
    stopped = stage.all_there()
    shutil.copytree(first.directory, stage.folder / "third")
    stage.send(5)
    stage.all_there()
    first.send_signal(signal.SIGCONT)
    until(lambda: first.trainer.stage == "stand-by", "the first worker stands by")
    check_kept(stage, second)
    return first, second, {"from SIGSTOP to all versions, empty directory": stopped}


def taken_over_again(stage: Stage, first: WholeWorker, second: WholeWorker) -> float:
    """The second is killed; the first goes on with its old directory, far behind."""
    second.send_signal(signal.SIGKILL)
    stage.send(1)
    seconds = stage.all_there()
    check_kept(stage, first)
    return seconds


def behind(stage: Stage, first: WholeWorker) -> tuple[WholeWorker, float]:
    """The first is killed, too; the third has a copy of the first's directory as it was when it was stopped."""
    with StoreView.open(stage.folder / "third" / STORE) as store:
        made, _ = store.head() or (0, "")
    assert len(stage.manifests()) - made >= 5, f"the copy has version {made} already"
    third = stage.worker("third")
    until(lambda: third.trainer.running and third.trainer.stage == "stand-by", "the third worker stands by")
    first.send_signal(signal.SIGKILL)
    stage.send(1)
    seconds = stage.all_there()
    check_kept(stage, third)
    return third, seconds


def two_windows(stage: Stage, third: WholeWorker) -> tuple[str, float]:
    """A fourth worker has a window group of its own. The last words of the one that ended; seconds from its fencing."""
    fourth = stage.worker("fourth", group="another-window")
    until(lambda: fourth.trainer.version >= third.trainer.version > 0, "the fourth has caught up")
    for left in (4, 3, 2, 1, 0):
        stage.send(1, end=left == 0)
        stage.all_there()
    until(lambda: {third.process.poll(), fourth.process.poll()} != {None}, "one of two workers ends")
    loser, winner = (fourth, third) if third.process.poll() is None else (third, fourth)
    assert (loser.process.returncode, winner.process.poll()) == (3, None)
    check_kept(stage, winner)
    winner.process.terminate()
    winner.process.wait()
    fenced = re.search(r"(\S+) warning trainer publisher-fenced", loser.log)
    assert fenced is not None, "it was not fenced"
    ended = loser.config.with_suffix(".log").stat().st_mtime
    return loser.log.splitlines()[-1], ended - datetime.fromisoformat(fenced[1]).timestamp()


def other_seed(stage: Stage) -> str:
    """A worker with an empty directory and another seed: its last words. What is on the topic stays as it is."""
    before = [manifest.digest for manifest in stage.manifests()]
    other = stage.worker("other", seed=1)
    assert other.process.wait(timeout=PATIENCE) == 3
    assert [manifest.digest for manifest in stage.manifests()] == before
    return other.log.splitlines()[-1]


def check_kept(stage: Stage, worker: WholeWorker) -> None:
    """Returns when the worker's store has all versions of the topic as the topic has them."""
    there = stage.manifests()
    with StoreView.open(worker.directory / STORE) as store:
        until(lambda: noted(store) == len(there), "the store has noted all")
        kept = [entry.digest for entry in store.versions()]
    assert kept == [manifest.digest for manifest in there[-len(kept) :]]


def noted(store: StoreView) -> int:
    """The last version that the store knows to be on the topic."""
    store.refresh()
    return store.last_published

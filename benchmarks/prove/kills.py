"""yelp2019 through 4 partitions and 2 collectors while everything is killed, stopped, starved or taken away.

Kills (`kill -9`) at moments drawn from a printed seed in every stage between an interaction and its version; beside
that the supervisor is killed, the broker stopped and killed, the trainer out of memory, and each process is stopped
for 20 s. Afterwards a plain script counts every row from the topics and compares every version with the replay's.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from benchmarks.kill_plan import STAGES, Moment, hits, plan, write_plan
from benchmarks.killed_worker import Fault, KilledWorker, published, send, until
from benchmarks.local_broker import LocalBroker
from benchmarks.machine import recordings
from benchmarks.prove.kafka_equals_replay import PERIODS, PRETRAIN, SETTINGS, asmg, plain_client
from stream_app.settings.complete import Settings
from stream_app.settings.load import load

EACH, SEED = 3, 4
COLLECTORS, AHEAD = 2, 3
REACH = {"pretraining": 6, "training": 60, "closing": 2, "before the manifest": 1, "after the manifest": 1}
STOPS = (
    Moment("collect", "collecting", "after a segment", 4, "SIGSTOP"),
    Moment("collect-1", "collecting", "before a message", 4, "SIGSTOP"),
    Moment("window", "writing rows", "before the write", 5, "SIGSTOP"),
    Moment("trainer", "between chunks", "before a chunk", 5, "SIGSTOP"),
)
"""Each of these goes on after 20 s, as somebody whom others have taken for dead."""


def run() -> dict[str, Any]:
    """Replay, then the same through Kafka with all that, then the plain script's verdict."""
    seed = int(os.environ.get("ASMG_KILL_SEED", SEED))
    print(f"seed {seed}", flush=True)
    recording = recordings() / "yelp2019.parquet"
    count = parquet.read_metadata(recording).num_rows // PERIODS
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker:
        folder, config, moments = Path(name), Path(name, "asmg.toml"), Path(name, "plan.jsonl")
        config.write_text(SETTINGS.format(folder=folder, bootstrap=broker.bootstrap, count=count, pretrain=PRETRAIN))
        asmg(config, "replay", str(recording), "--out", str(folder / "replay"))
        asmg(config, "topics", "create")
        write_plan(moments, [*plan(seed, EACH, REACH, COLLECTORS), *STOPS])
        settings = load(Settings, {"config": config}).worker()
        begin = time.perf_counter()
        with KilledWorker(config, moments) as worker:
            send(settings, recording, PERIODS, AHEAD, faults(worker, broker), folder)
            published(settings, PERIODS - PRETRAIN + 1)
            seconds, ended = round(time.perf_counter() - begin, 1), worker.stop()
            ends = worker.ends()
        verdict = plain_client(broker.bootstrap, folder / "replay" / "versions", recording, count)
        return result(seed, hits(moments), verdict, ends, seconds, ended)


def faults(worker: KilledWorker, broker: LocalBroker) -> dict[int, Fault]:
    """What happens after which part, beside the plan."""
    return {
        3: worker.kill_supervisor,
        6: worker.stop_supervisor,
        12: functools.partial(away, worker, broker, 30.0),
        15: functools.partial(starve, worker),
        18: functools.partial(away, worker, broker, 90.0),
        22: functools.partial(away, worker, broker, 5.0, killed=True),
        26: worker.kill_supervisor,
    }


def away(worker: KilledWorker, broker: LocalBroker, seconds: float, killed: bool = False) -> None:
    """The broker is stopped or killed, and comes back after so many seconds."""
    worker.noted("broker", f"{'killed' if killed else 'stopped'}, {seconds:.0f} s away")
    if killed:
        broker.kill()
    else:
        broker.stop()
    time.sleep(seconds)
    broker.start()


def starve(worker: KilledWorker) -> None:
    """A trainer gets no more memory until it has ended of that, and not by the plan; the next one does."""
    codes = [-signal.SIGKILL]
    while codes[-1] == -signal.SIGKILL:
        until(lambda: "trainer" in worker.children(), "a trainer runs")
        trainer = worker.children()["trainer"]
        used = int(Path(f"/proc/{trainer}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(trainer, resource.RLIMIT_AS, (used, used))
        until(lambda pid=trainer: pid not in worker.children().values(), "a trainer without memory ends")
        time.sleep(1.0)  # until the supervisor has said so
        codes = worker.ends()["trainer"]
    worker.noted("trainer", f"out of memory, ended with {codes[-1]}")


def result(
    seed: int,
    hit: list[dict[str, Any]],
    verdict: dict[str, Any],
    ends: dict[str, list[int]],
    seconds: float,
    ended: int,
) -> dict[str, Any]:
    """What was done, what came of it, and whether that is what was promised."""
    kills = Counter(one["stage"] for one in hit if one["entry"] is not None and one["signal"] == "SIGKILL")
    stopped = {one["process"] for one in hit if one["signal"] == "SIGSTOP"}
    return {
        "seed": seed,
        "kills": dict(kills),
        "beside": [f"{one['process']}: {one['signal']}" for one in hit if one["entry"] is None],
        "stopped_20_s": sorted(stopped),
        "restarts": {name: len(codes) for name, codes in ends.items()},
        "seconds": seconds,
        **verdict,
        "bounds": {
            f"at least {EACH} kills in each stage": all(kills[stage] >= EACH for stage in STAGES),
            "every process stopped": stopped == {"supervisor", *(moment.process for moment in STOPS)},
            "all versions have the replay's content": verdict["equal_content"] == PERIODS - PRETRAIN + 1,
            "every row is in one period or in the open rest": verdict["periods"] == PERIODS and verdict["late"] == 0,
            "the worker ends in order": ended == 0,
        },
    }

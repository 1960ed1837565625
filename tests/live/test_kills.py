"""Nothing lost, nothing twice, one answer: with a `kill -9` in every stage between an interaction and its version."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from live_helpers import write_settings
from replay_helpers import write

from benchmarks.kill_plan import STAGES, hits, plan, write_plan
from benchmarks.killed_worker import NO_INTERACTIONS, KilledWorker, published, send
from benchmarks.prove.kafka_equals_replay import plain_client
from stream_app.live.worker_settings import WorkerSettings
from stream_app.synthetic import drifting_stream

SEED = 20261121
PERIODS, COUNT, PRETRAIN, REST = 7, 200, 2, 7
VERSIONS = PERIODS - PRETRAIN + 1
REACH = {"pretraining": 1, "closing": 1, "writing a snapshot": 1, "before the manifest": 1, "after the manifest": 1}
"""Of the other stages the third time comes within every life of a process."""


LEARNING = f"""
[periods]
count = {COUNT}
[learning]
pretrain = {PRETRAIN}
passes = 2
initialisations = 1
negatives = 1
batch = 32
"""


@pytest.mark.broker
def test_killed_in_every_stage_each_interaction_is_in_one_period_and_every_version_is_the_replays(
    settings: WorkerSettings, tmp_path: Path
) -> None:
    config = write_settings(tmp_path / "asmg.toml", replace(settings, collectors=2), LEARNING)
    rows = drifting_stream(PERIODS * COUNT + REST, users=60, items=40, seed=3)
    recording = write(tmp_path / "stream.parquet", rows)
    replay = [sys.executable, "-m", "stream_app.cli", "--config", str(config), "replay", str(recording)]
    subprocess.run([*replay, "--out", str(tmp_path / "replay")], check=True)
    moments = plan(SEED, 1, REACH, collectors=2)
    write_plan(tmp_path / "plan.jsonl", moments)

    with KilledWorker(config, tmp_path / "plan.jsonl") as worker:
        send(settings, recording, parts=PERIODS, ahead=2, faults={}, folder=tmp_path)
        published(settings, VERSIONS)
        assert worker.stop() == 0
        ends = worker.ends()

    hit = hits(tmp_path / "plan.jsonl")
    assert Counter(one["stage"] for one in hit) == dict.fromkeys(STAGES, 1)
    assert sum(codes.count(-signal.SIGKILL) for codes in ends.values()) == len(moments)
    directory = tmp_path / "replay" / "versions"
    verdict = plain_client(settings.kafka.bootstrap, directory, recording, COUNT, settings.topics)
    assert verdict["equal_content"] == VERSIONS
    counted = (len(rows), PERIODS, REST, 0, 4 * PERIODS * len(NO_INTERACTIONS))
    assert tuple(verdict[name] for name in ("rows", "periods", "open", "late", "refused")) == counted

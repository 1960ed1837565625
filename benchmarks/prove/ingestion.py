"""Ingestion through both agents, interactions topic -> segments topic -> RocksDB, and its memory over a long backlog.

1. Single-record messages through `collect` and `window`, as a worker runs them, against a plain Faust agent that only
   decodes the same records, in turn, on the same topic. The clock runs from the first rows in the journal to the last.
2. An hour's backlog (1,000 interactions a second) with no trainer running: resident memory of both processes on the
   way must stay flat.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.filling import fill
from benchmarks.local_broker import LocalBroker
from benchmarks.prove.transport import rate_of
from stream_app.broker import KafkaSettings
from stream_app.live.cluster import topics as live_topics
from stream_app.store.journal_view import JournalView
from stream_app.synthetic import drifting_stream

RECORDS, ROUNDS, PARTITIONS = 400_000, 3, 4
BACKLOG = 3_600_000
USERS, ITEMS = 50_000, 20_000
PERIOD = 10_000
SPAN = 30 * 86_400 * 1_000_000
"""Of a generated stream, in microseconds: what is sent later also happened later, or all of it would be late."""
LOOK = 0.25
LIMIT = 600.0
FLAT = 1.25
"""Memory at the end against memory at a quarter of the way."""


def run() -> dict[str, Any]:
    """Rates of both ways, their ratio, and memory over the backlog."""
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name, "broker")) as broker:
        rows = drifting_stream(RECORDS, USERS, ITEMS, seed=0)
        live_topics.create(KafkaSettings(broker.bootstrap), live_topics.TopicSettings(partitions=PARTITIONS))
        fill(broker.bootstrap, "interactions", rows, PARTITIONS)
        ours, plain = [], []
        for number in range(ROUNDS):
            plain.append(rate_of("plain_faust", broker.bootstrap, number)["wall"])
            ours.append(both_agents(broker.bootstrap, Path(name), f"round{number}", RECORDS)["rate"])
        more = drifting_stream(BACKLOG - RECORDS, USERS, ITEMS, seed=1)
        fill(broker.bootstrap, "interactions", replace(more, times=more.times + SPAN), PARTITIONS)
        backlog = both_agents(broker.bootstrap, Path(name), "backlog", BACKLOG)
    against = median(ours) / median(plain)
    growth = {role: kib[-1] / kib[len(kib) // 4] for role, kib in backlog["resident_kib"].items()}
    return {
        "records": RECORDS,
        "records_per_second": {"both agents": round(median(ours)), "plain Faust agent": round(median(plain))},
        "rounds": {"both agents": [round(rate) for rate in ours], "plain Faust agent": [round(rate) for rate in plain]},
        "against_plain_faust": round(against, 1),
        "backlog": {
            "records": BACKLOG,
            "records_per_second": round(backlog["rate"]),
            "resident_mib": {
                role: [round(kib[place * (len(kib) - 1) // 8] / 1024) for place in range(9)]
                for role, kib in backlog["resident_kib"].items()
            },
        },
        "bounds": {
            "both agents together are at least 10 times a plain Faust agent": against >= 10,
            "memory stays flat over the backlog": max(growth.values()) <= FLAT,
        },
    }


def both_agents(bootstrap: str, folder: Path, name: str, records: int) -> dict[str, Any]:
    """Rows a second into the journal of a worker without a trainer, and the memory of its processes on the way."""
    state = folder / name
    config = folder / f"{name}.toml"
    config.write_text(
        f'model = "{name}"\nstate_directory = "{state}"\n[kafka]\nbootstrap = "{bootstrap}"\n'
        f'[topics]\nsegments = "segments-{name}"\nmodels = "models-{name}"\n[periods]\ncount = {PERIOD}\n'
    )
    topics = live_topics.TopicSettings(segments=f"segments-{name}", models=f"models-{name}")
    live_topics.create(KafkaSettings(bootstrap), topics)
    with child(config, "collect") as collect, child(config, "window") as window:
        processes = {"collect": collect, "window": window}
        seen: list[tuple[float, int]] = []
        resident: dict[str, list[int]] = {role: [] for role in processes}
        for when, rows in rows_over_time(state / "journal", records):
            seen.append((when, rows))
            for role, process in processes.items():
                resident[role].append(resident_kib(process.pid))
    (begin, first), (end, last) = seen[0], seen[-1]
    return {"rate": (last - first) / (end - begin), "resident_kib": resident}


@contextmanager
def child(config: Path, role: str) -> Iterator[subprocess.Popen[bytes]]:
    """One child of a worker, as the supervisor starts it; it ends when its stdin closes."""
    command = [sys.executable, "-m", "stream_app.cli", "worker", "--config", str(config), "--child", role]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def rows_over_time(path: Path, enough: int) -> Iterator[tuple[float, int]]:
    """(seconds, rows in the journal), from the first rows on until there are `enough`."""
    deadline = time.perf_counter() + LIMIT
    while (journal := JournalView.beside(path)) is None:
        time.sleep(LOOK)
    with journal:
        rows = 0
        while rows < enough:
            if time.perf_counter() > deadline:
                raise SystemExit(f"{rows} of {enough} rows came within {LIMIT:.0f} s")
            time.sleep(LOOK)
            journal.refresh()
            rows = sum(mark.rows for mark in journal.marks.values())
            if rows:
                yield time.perf_counter(), rows


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024

"""A recording of a live run replays as it ran: same periods, late rows and versions; and it is whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow.parquet as pq
import pytest
from kafka import KafkaProducer
from live_helpers import PATIENCE, record
from replay_helpers import clean
from segments_by_hand import Row, counted, segment, stored_periods

from models.learning import LearningSettings
from stream_app.errors import BadInput, OffsetGap, TopicRecreated
from stream_app.events.periods import EqualCount
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment
from stream_app.formats import segments_writer
from stream_app.formats.segments_reader import records
from stream_app.live.state_directory import JOURNAL
from stream_app.live.worker import Role
from stream_app.live.worker_settings import WorkerSettings
from stream_app.pipeline import ingest
from stream_app.recorder import Recorded, Recorder, Source
from stream_app.replay import ReplaySettings, replay
from stream_app.sinks.kafka import KafkaSink
from stream_app.store.journal import Journal
from stream_app.store.journal_view import JournalView
from stream_app.synthetic import drifting_stream

pytestmark = pytest.mark.broker
Start = Callable[[WorkerSettings, Role], Any]
PERIODS, COUNT, PRETRAIN = 4, 100, 2
LEARNING = LearningSettings(pretrain=PRETRAIN, passes=1, initialisations=1, negatives=1, batch=64, device="cpu")
HOUR = 3600.0


def recorded(settings: WorkerSettings, out: Path, source: Source = "segments", until_end: bool = False) -> Recorded:
    return Recorder(out, settings.kafka, settings.topics, settings.records, source).run(until_end)


def send_disordered(producer: KafkaProducer, topic: str) -> int:
    """Four partitions out of order, some rows later than `lateness`; bad messages, a watermark record, END marks."""
    rows = drifting_stream(PERIODS * COUNT + 30, users=40, items=30, seed=5)
    order = np.argsort(np.arange(len(rows)) + np.where(np.arange(len(rows)) % 17 == 0, 40, 0), kind="stable")
    for n, row in enumerate(order.tolist()):
        user, seconds = int(rows.users[row]), int(rows.times[row]) // 1_000_000
        producer.send(topic, record(user, int(rows.items[row]), seconds), partition=user % 4)
        if n % 50 == 0:
            producer.send(topic, b"\xc1", partition=n % 4)
        if n == 200:
            producer.send(topic, msgpack.packb({"watermark": seconds - 1}), partition=2)
    for partition in range(4):
        producer.send(topic, msgpack.packb({"watermark": "end"}), partition=partition)
    producer.flush()
    return len(rows)


def test_the_recording_of_a_live_run_gives_its_versions_byte_for_byte(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, tmp_path: Path
) -> None:
    settings = replace(settings, periods=EqualCount(count=COUNT, lateness=HOUR), learning=LEARNING)
    for role in ("collect", "window", "trainer"):
        start(settings, role)
    rows = send_disordered(producer, settings.topics.interactions)
    found = recorded(settings, tmp_path / "segments.parquet", until_end=True)
    assert (found.interactions, found.ended) == (rows, {0, 1, 2, 3})
    again = recorded(settings, tmp_path / "interactions.parquet", "interactions")
    assert (again.interactions, again.bad) == (rows, {"undecodable": 9})
    assert interactions(tmp_path / "segments.parquet") == interactions(tmp_path / "interactions.parquet")

    replays = ReplaySettings(settings.model, settings.records, settings.periods, LEARNING)
    expected = versions(settings, PERIODS - PRETRAIN + 1)
    late = late_rows(settings.state_directory / JOURNAL)
    assert late > 5
    for source in ("segments", "interactions"):
        out = tmp_path / source
        results = list(replay(tmp_path / f"{source}.parquet", replays, out))
        assert {one.version: one.digest for one in results if one.version} == expected
        assert late_rows(out / "journal") == late


def late_rows(path: Path) -> int:
    view = JournalView.beside(path)
    assert view is not None
    with view:
        return sum(mark.late for mark in view.marks.values())


def versions(settings: WorkerSettings, count: int) -> dict[int, str]:
    """Number -> digest of the versions on the topic, once there are so many."""
    sink, deadline = KafkaSink(settings.kafka, settings.topics.models, settings.model), time.monotonic() + PATIENCE
    while len(digests := dict(sink.head().digests)) < count:
        assert time.monotonic() < deadline, f"gave up with {len(digests)} versions"
        time.sleep(0.2)
    return digests


def interactions(path: Path) -> set[tuple[int, int, int]]:
    """(partition, offset, user) of what a data frame selects; each once."""
    table = pq.read_table(path, columns=["kind", "partition", "offset", "user_id"]).to_pydict()
    found = [row[1:] for row in zip(*table.values(), strict=True) if row[0] == "interaction"]
    assert len(set(found)) == len(found)
    return set(found)


def rows(partition: int, seconds: list[int]) -> list[Row]:
    return [Row(1_000_000 * at, partition, at % 7, 1) for at in seconds]


def by_hand() -> list[Any]:
    """A stream with an idle mark, rows that come after it, repeats, disorder, a watermark record and END marks."""
    zero = rows(0, [10, 30, 20, 5, 40, 50])
    return [
        PartitionSet(2, "id"),
        segment(0, 0, zero[:4]),
        segment(0, 2, zero[2:]),  # a collector sent two of them again
        segment(1, 0, rows(1, [12, 14])),
        IdleMark(1, 2),
        segment(0, 6, rows(0, [60, 70, 80])),
        segment(1, 2, rows(1, [13, 15, 90])),  # the period of these has closed
        segment(0, 6, rows(0, [60, 70, 80])),
        segment(1, 5, [*rows(1, [95]), 96_000_000, *rows(1, [91])]),
        Segment(0, 9, 12, *empty()),
        segment(0, 12, [END]),
        segment(1, 8, [END]),
    ]


def empty() -> tuple[Any, ...]:
    nothing = segment(0, 0, [])
    return nothing.offsets, nothing.interactions


def put(settings: WorkerSettings, producer: KafkaProducer, stream: list[Any]) -> None:
    for one in stream:
        producer.send(settings.topics.segments, one.encode(), partition=0).get(PATIENCE)


def test_idle_marks_and_what_comes_after_them_replay_as_the_window_has_taken_them(
    settings: WorkerSettings, start: Start, producer: KafkaProducer, tmp_path: Path
) -> None:
    settings = replace(settings, periods=EqualCount(count=4, lateness=5.0))
    start(settings, "window")
    stream = by_hand()
    put(settings, producer, stream)
    found = recorded(settings, tmp_path / "a.parquet", until_end=True)
    assert (found.interactions, found.ended) == (16, {0, 1})

    with closing(Journal.open(tmp_path / "replayed", {})) as replayed:
        for position, one in enumerate(records(tmp_path / "a.parquet", RecordSettings())):
            ingest(replayed, settings.periods, one, position)
        live = journal_at(settings.state_directory / JOURNAL, len(stream))
        with live:
            assert stored_periods(live) == stored_periods(replayed)
            assert [(one.period, one.late) for one in live.periods()] == [
                (one.period, one.late) for one in replayed.periods()
            ]
            assert live.marks == replayed.marks
            assert sum(mark.late for mark in live.marks.values()) == 5
            assert len(counted(stored_periods(live))) == 16


def journal_at(path: Path, position: int) -> JournalView:
    """The journal once it has taken so many records."""
    deadline = time.monotonic() + PATIENCE
    while True:
        view = JournalView.beside(path)
        if view is not None and view.position == position:
            return view
        if view is not None:
            view.close()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_newest_run_is_recorded_and_what_no_journal_takes_is_refused(
    settings: WorkerSettings, producer: KafkaProducer, tmp_path: Path
) -> None:
    old, new = segment(0, 0, rows(0, [1, 2])), segment(0, 0, rows(0, [3]))
    put(settings, producer, [PartitionSet(1, "old"), old, RunMark("b"), PartitionSet(1, "new"), new])
    assert recorded(settings, tmp_path / "a.parquet").interactions == 1
    found = [one.encode() for one in records(tmp_path / "a.parquet", RecordSettings())]
    assert found == [one.encode() for one in (RunMark("b"), PartitionSet(1, "new"), new)]

    put(settings, producer, [segment(0, 2, rows(0, [4])), segment(0, 9, rows(0, [4]))])
    with pytest.raises(OffsetGap):
        recorded(settings, tmp_path / "b.parquet", until_end=True)
    put(settings, producer, [RunMark("c"), PartitionSet(1, "x"), PartitionSet(1, "y")])
    with pytest.raises(TopicRecreated):
        recorded(settings, tmp_path / "b.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    put(settings, producer, [RunMark("d"), PartitionSet(1, "z"), segment(0, 7, [*rows(0, [5]), END])])
    assert recorded(settings, tmp_path / "b.parquet", until_end=True).interactions == 1


def test_a_recording_that_fails_leaves_nothing_and_one_that_is_there_is_not_touched(
    settings: WorkerSettings, producer: KafkaProducer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(settings, producer, by_hand())
    out = tmp_path / "a.parquet"
    with pytest.raises(BadInput, match=r"records\.user_ids"):
        recorded(replace(settings, records=RecordSettings(user_ids="string")), out)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(segments_writer.pq.ParquetWriter, "write_table", full)
        with pytest.raises(BadInput, match=r"a\.parquet.*No space left"):
            recorded(settings, out)
    assert list(tmp_path.iterdir()) == []

    recorded(settings, out)
    before = out.read_bytes()
    with pytest.raises(BadInput, match="there already"):
        recorded(settings, out)
    assert out.read_bytes() == before


def test_ctrl_c_and_kill_leave_no_recording(settings: WorkerSettings, producer: KafkaProducer, tmp_path: Path) -> None:
    put(settings, producer, by_hand()[:3])
    flags = [
        *("--set", f"kafka.bootstrap={settings.kafka.bootstrap}"),
        *("--set", f"topics.segments={settings.topics.segments}"),
    ]
    command = [sys.executable, "-m", "stream_app.cli", "record", "a.parquet", "--until-end", *flags]
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        child = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=clean({}),
            stderr=subprocess.PIPE,
            text=True,
            # Started by a shell in the background, this process ignores SIGINT, and its children would too.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / ".a.parquet.part").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(child.pid, number)
        _, said = child.communicate(timeout=PATIENCE)
        assert child.returncode == code
        assert said == ("asmg: interrupted; nothing was written\n" if number == signal.SIGINT else "")
        assert not (tmp_path / "a.parquet").exists()

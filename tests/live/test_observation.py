"""What an operator's tools see of a worker: metrics, health and logs of one worker on a broker that goes away."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from broker import LocalBroker
from kafka import KafkaProducer
from live_helpers import PATIENCE, Reader, decoded, record

from stream_app.broker import KafkaSettings
from stream_app.events import dead_letter
from stream_app.events.segment import Segment
from stream_app.live.children import LOOP, Children
from stream_app.live.cluster import topics
from stream_app.versions.messages import Manifest

NAMES = topics.TopicSettings("in", "segments", "models", "dead")
PARTITIONS = 4
COUNT, ROWS = 100, 460
SECOND = 1_000_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def settings_file(folder: Path, bootstrap: str, port: int) -> Path:
    """One version after each period from the second on; everything is logged, as JSON."""
    path = folder / "asmg.toml"
    names = "\n".join(f'{key} = "{getattr(NAMES, key)}"' for key in ("interactions", "segments", "models"))
    path.write_text(
        f"""
        state_directory = "{folder / "state"}"
        [kafka]
        bootstrap = "{bootstrap}"
        [topics]
        {names}
        dead_letters = "{NAMES.dead_letters}"
        [periods]
        count = {COUNT}
        lateness = 0
        [learning]
        pretrain = 2
        passes = 1
        initialisations = 1
        [metrics]
        port = {port}
        [log]
        level = "debug"
        format = "json"
        """
    )
    return path


@dataclass
class Watched:
    """A worker that serves metrics at `port`; `folder`: its settings, state, log and temporary files."""

    broker: LocalBroker
    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """By name and labels, as they are written."""
        lines = [line for line in self.get("metrics")[1].splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def until(self, enough: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """The metrics, once they are so."""
        deadline = time.monotonic() + PATIENCE
        while not enough(found := self.metrics()):
            assert time.monotonic() < deadline, f"gave up: {found}"
            assert self.process.poll() is None, self.log()
            time.sleep(0.2)
        return found

    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()

    def events(self) -> list[dict[str, Any]]:
        """Every line of the log: each must be an object."""
        return [json.loads(line) for line in self.log()]

    def asmg(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command with the settings of the worker."""
        command = [sys.executable, "-m", "stream_app.cli", *arguments, "--config", str(self.folder / "asmg.toml")]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def child(self, role: str) -> int:
        """The process id of a child."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if str(self.folder / "asmg.toml").encode() in words and role.encode() in words:
                return int(path.parent.name)
        raise AssertionError(f"no child {role}")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A worker that has trained four periods, on a broker of its own."""
    folder, port = tmp_path_factory.mktemp("watched"), free_port()
    with LocalBroker(folder / "kafka") as broker:
        topics.create(KafkaSettings(broker.bootstrap), NAMES)
        send(broker.bootstrap)
        config = settings_file(folder, broker.bootstrap, port)
        (folder / "tmp").mkdir()
        with (folder / "log").open("wb") as log:
            environment = os.environ | {"TMPDIR": str(folder / "tmp")}
            command = [sys.executable, "-m", "stream_app.cli", "worker", "--config", str(config)]
            process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
        yield Watched(broker, process, port, folder)
        process.kill()
        process.wait()


def send(bootstrap: str) -> None:
    """Rows in order, one of them late in its partition; two messages that are none, and a tombstone."""
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for n in range(ROWS):
        at = 900 if n == ROWS - 1 else 1000 + n
        producer.send(NAMES.interactions, record(n % 17, n % 5, at, n % 2), partition=n % PARTITIONS)
    producer.send(NAMES.interactions, b"\xc1", partition=0)
    producer.send(NAMES.interactions, b"\xc1", partition=1)
    producer.send(NAMES.interactions, None, key=b"gone", partition=2)
    producer.flush(timeout=PATIENCE)
    producer.close()


@pytest.mark.broker
def test_metrics_of_every_stage_are_what_a_foreign_client_counts_on_the_topics(watched: Watched) -> None:
    found = watched.until(
        lambda m: (
            m.get("asmg_versions_published_total") == 3
            and m.get('asmg_period{state="published"}') == 4
            and m.get("asmg_broker_up") == 1
            and m.get("asmg_segments_lag_offsets") == 0
        )
    )
    readers = {name: Reader(watched.broker.bootstrap, name) for name in NAMES.names}
    said = {name: reader.until(lambda records, n=name: len(records) >= least(n)) for name, reader in readers.items()}
    ends = readers[NAMES.interactions].ends()
    segments = [one for one in decoded(said[NAMES.segments]) if isinstance(one, Segment)]
    rows = {n: sum(len(one.offsets) for one in segments if one.partition == n) for n in ends}
    latest = {n: max(int(one.interactions.times.max()) for one in segments if one.partition == n) for n in ends}
    for n, end in ends.items():
        assert found[f'asmg_records_read_total{{partition="{n}"}}'] == end
        assert found[f'asmg_interactions_collected_total{{partition="{n}"}}'] == rows[n]
        assert found[f'asmg_rows_total{{partition="{n}"}}'] == rows[n]
        assert found[f'asmg_lag_offsets{{partition="{n}"}}'] == 0
        assert found[f'asmg_watermark_timestamp_seconds{{partition="{n}"}}'] == latest[n] / SECOND
        assert found[f'asmg_watermark_delay_seconds{{partition="{n}"}}'] == pytest.approx(
            time.time() - latest[n] / SECOND, abs=PATIENCE
        )
    assert found["asmg_stream_watermark_timestamp_seconds"] == min(latest.values()) / SECOND
    assert found['asmg_tombstones_total{partition="2"}'] == 1
    assert found['asmg_late_rows_total{partition="3",policy="next-period"}'] == 1
    assert found["asmg_segments_sent_total"] == len(segments)
    assert found["asmg_segments_sent_bytes_total"] == sum(
        len(one.value)
        for one, what in zip(said[NAMES.segments], decoded(said[NAMES.segments]), strict=True)
        if isinstance(what, Segment)
    )
    reasons = {dead_letter.decode(one.key, one.value).reason for one in said[NAMES.dead_letters]}
    assert sum(found[f'asmg_dead_letters_total{{reason="{reason}"}}'] for reason in reasons) == 2
    made = manifests(said[NAMES.models])
    assert [one.content.version for one in made] == [1, 2, 3]
    assert found["asmg_versions_published_bytes_total"] == sum(one.content.size for one in made)
    assert found["asmg_event_to_published_seconds_count"] == found["asmg_close_to_published_seconds_count"] == 3
    assert found['asmg_version{state="published"}'] == made[-1].content.version
    assert found[f'asmg_method{{method="{made[-1].content.learning["method"]}"}}'] == 1
    assert found['asmg_period{state="trained"}'] == found['asmg_period{state="closed"}'] == ROWS // COUNT
    assert found["asmg_open_period_rows"] == ROWS % COUNT
    assert found['asmg_period_stage_seconds_count{stage="training"}'] == 3
    for reader in readers.values():
        reader.close()


def least(topic: str) -> int:
    return {NAMES.interactions: ROWS + 3, NAMES.dead_letters: 2, NAMES.models: 3, NAMES.segments: PARTITIONS}[topic]


def manifests(records: list[Any]) -> list[Manifest]:
    return [Manifest.unpack(one.value) for one in records if one.key.endswith(b"/manifest")]


@pytest.mark.broker
def test_a_period_can_be_followed_by_its_number_through_the_logs_of_all_processes(watched: Watched) -> None:
    watched.until(lambda m: m.get("asmg_versions_published_total") == 3)
    reader = Reader(watched.broker.bootstrap, NAMES.models)
    digest = manifests(reader.until(lambda records: len(manifests(records)) >= 3))[1].digest
    reader.close()
    events = watched.events()
    way = [(one["process"], one["event"]) for one in events if one.get("period") == 3]
    assert [step for step in way if step[1] != "stage"] == [
        ("window", "period-closed"),
        ("trainer", "period-trained"),
        ("trainer", "version-published"),
    ]
    (published,) = [one for one in events if one["event"] == "version-published" and one["period"] == 3]
    assert (published["version"], published["digest"], published["epoch"]) == (2, digest, 1)
    (trained,) = [one for one in events if one["event"] == "period-trained" and one["period"] == 3]
    assert trained["method"] in trained["reason"]
    sent = [one for one in events if one["event"] == "segment-sent"]
    written = [one for one in events if one["event"] == "rows-written"]
    for n in range(PARTITIONS):
        ranges = [(one["first"], one["next"]) for one in written if one["partition"] == n]
        assert ranges == [(one["first"], one["next"]) for one in sent if one["partition"] == n]
        assert all(a[1] == b[0] for a, b in pairwise(ranges))


@pytest.mark.broker
def test_a_worker_whose_children_run_is_healthy_and_ready_also_after_one_was_killed_and_no_counter_goes_back(
    watched: Watched,
) -> None:
    before = watched.until(lambda m: watched.get("readyz")[0] == 200 and "asmg_versions_published_total" in m)
    assert watched.get("healthz")[0] == 200
    os.kill(watched.child("collect"), signal.SIGKILL)
    while watched.get("readyz")[0] == 200:  # until the supervisor has seen it, and long before another one has joined
        assert watched.process.poll() is None
    again = watched.until(lambda m: watched.get("readyz")[0] == 200)
    assert again['asmg_child_restarts_total{code="-9",process="collect"}'] == 1
    counted = [name for name in before if re.match(r"asmg_\w+_(total|count|sum|bucket)\b", name)]
    assert counted
    assert [name for name in counted if not again.get(name, -1) >= before[name]] == []


@pytest.mark.broker
def test_status_tells_who_publishes_what_has_come_how_far_and_why_letters_were_refused(watched: Watched) -> None:
    watched.until(lambda m: m.get("asmg_versions_published_total") == 3)
    reader = Reader(watched.broker.bootstrap, NAMES.models)
    last = manifests(reader.until(lambda records: len(manifests(records)) >= 3))[-1]
    reader.close()
    found = json.loads(watched.asmg("status", "--json").stdout)
    assert found["processes"] == ["collect-0", "trainer-0", "window-0"]
    assert found["window"]["active"]
    assert found["reasons"] == {"undecodable": 2}
    assert {group["name"]: group["members"] for group in found["groups"]} == {
        "asmg-default-collect": 1,
        "asmg-default-window": 1,
    }
    version = found["version"]
    assert (version["digest"], version["run"], version["epoch"]) == (last.digest, last.envelope.run, 1)
    assert (version["published"], version["published_period"]) == (3, 4)
    assert (version["method"], version["reason"]) == tuple(
        facts[name] for facts, name in ((last.content.learning, "method"), (last.content.decisions, "reason"))
    )
    assert (found["last_trained"], found["last_closed"]) == (4, 4)
    said = watched.asmg("status").stdout
    assert "window: active since" in said
    assert f"made by {version['method']}: {version['reason']}" in said
    assert "records of the dead-letter topic: 2 (of the newest: undecodable 2)" in said


@pytest.mark.broker
def test_a_version_is_pinned_beside_a_running_worker_and_status_tells_until_it_is_unpinned(watched: Watched) -> None:
    watched.until(lambda m: m.get("asmg_versions_published_total") == 3)
    assert json.loads(watched.asmg("versions", "pin", "2", "--json").stdout)["now"]["pinned"] == 2
    assert json.loads(watched.asmg("status", "--json").stdout)["version"]["epoch"] == 1
    assert "version 2 is pinned: subscribers serve it, not the newest" in watched.asmg("status").stdout
    assert json.loads(watched.asmg("versions", "unpin", "--json").stdout)["before"]["pinned"] == 2
    assert json.loads(watched.asmg("status", "--json").stdout)["pinned"] is None


@pytest.mark.broker
def test_a_port_that_is_taken_ends_a_worker_with_2_before_anything_starts_and_names_the_setting(
    watched: Watched,
) -> None:
    other = watched.folder / "other-state"
    ended = watched.asmg("worker", "--set", f"state_directory={other}")
    assert ended.returncode == 2
    *_, line = ended.stderr.splitlines()
    assert json.loads(line)["reason"].startswith(f"setting metrics.port: 127.0.0.1:{watched.port} ")
    assert not other.exists()


@pytest.mark.broker
def test_without_its_broker_a_worker_is_not_ready_and_what_only_the_broker_knows_is_absent_and_no_scrape_waits(
    watched: Watched,
) -> None:
    watched.until(lambda m: m.get("asmg_broker_up") == 1)
    watched.broker.stop()
    found = watched.until(lambda m: m.get("asmg_broker_up") == 0)
    assert not [name for name in found if "lag_offsets" in name]
    assert found['asmg_rows_total{partition="0"}'] == ROWS / PARTITIONS
    code, said = watched.get("readyz")
    assert code == 503
    assert watched.broker.bootstrap in said
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(timeout=PATIENCE) == 0
    assert not list((watched.folder / "tmp").glob("asmg-metrics-*"))


def test_a_child_that_ends_again_and_again_is_told_with_its_last_words_also_while_it_runs() -> None:
    gone: list[str] = []
    children = Children(["window"], gone=gone.append)
    for _ in range(LOOP):
        children.started("window", 1)
        assert children.states()[0].trouble(time.monotonic()) == ""
        children.ended("window", 4, "no broker")
    children.started("window", 1)
    (state,) = children.states()
    assert "ended 3 times in a row, last with exit code 4" in state.trouble(time.monotonic())
    assert state.said == "no broker"
    assert state.trouble(time.monotonic() + 3600) == ""
    assert children.codes() == {("window", 4): LOOP}
    assert gone == ["window"] * LOOP

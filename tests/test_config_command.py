"""`asmg config check` and `show --origin`: every look has its line, nothing is changed by it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from replay_helpers import clean

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import reach_each
from stream_app.broker.rights import Right
from stream_app.cli.main import WORKER_PACKAGES, main
from stream_app.errors import AccessDenied, Unavailable
from stream_app.live.cluster import rights_watch
from stream_app.live.cluster.rights_watch import RightsWatch
from stream_app.live.cluster.topics import TopicSettings, create

WORKER_ONLY = ("torch", "faust", "rocksdict", "pyarrow", "msgspec", "aiokafka", "matplotlib")


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ASMG_"):
            monkeypatch.delenv(name)


@pytest.fixture
def flags(broker: str) -> list[str]:
    """A broker with topics of our own."""
    name = uuid.uuid4().hex[:8]
    names = TopicSettings(f"in-{name}", f"segments-{name}", f"models-{name}", f"dead-{name}")
    create(KafkaSettings(broker), names)
    given = {"kafka.bootstrap": broker, "topics.interactions": names.interactions, "topics.segments": names.segments}
    given |= {"topics.models": names.models, "topics.dead_letters": names.dead_letters, "learning.device": "cpu"}
    return [word for key, value in given.items() for word in ("--set", f"{key}={value}")]


@pytest.mark.broker
def test_where_all_is_well_every_line_says_so_and_nothing_is_made(
    flags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["config", "check", "--json", *flags]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert {answer["result"] for answer in answers} == {"ok"}
    counts = {name: [answer["check"] for answer in answers].count(name) for name in ("right", "topic")}
    assert counts == {"right": 7, "topic": 4}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.broker
def test_the_worst_decides_and_the_rest_is_told_too(
    flags: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file in the way")
    other = ["--set", "topics.segments=absent", "--set", "state_directory=state"]
    assert main(["config", "check", *flags, *other]) in (2, 3)
    shown = capsys.readouterr().out
    assert "problem      topic: " in shown
    assert "has no topic absent" in shown
    assert "not checked  right: topic absent" in shown
    assert "ok           device" in shown


def test_settings_that_cannot_be_read_are_a_problem_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    Path("asmg.toml").write_text("[kafka]\nbotstrap = 'x'")
    assert main(["config", "check", "--json"]) == 2
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["check"], answer["result"]) == ("settings", "problem")
    assert "did you mean bootstrap?" in answer["said"]


@pytest.mark.broker
def test_a_serving_process_checks_itself_without_the_packages_of_the_worker(flags: list[str], tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules.update(dict.fromkeys({WORKER_ONLY}))
from stream_app.cli.main import WORKER_PACKAGES, main
sys.exit(main(["config", "check", "--role", "subscriber", *{flags!r}]))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=clean({}), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["settings:", "broker:", "right:", "topic:"]


def test_brokers_that_are_silent_are_asked_at_the_same_time_and_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        addresses = [("127.0.0.1", server.getsockname()[1]) for server in (one, other)]
        found = reach_each(KafkaSettings(), addresses)
    assert list(found) == addresses
    assert all(isinstance(error, Unavailable) for error in found.values())


def test_show_says_where_each_setting_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("asmg.toml").write_text('preset = "paper"\n[kafka]\nclient_id = "file"\n[learning]\nseed = 1\n')
    monkeypatch.setenv("ASMG_KAFKA__BOOTSTRAP", "environment:1")
    assert main(["config", "show", "--origin", "--set", "learning.seed=2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    for line in (
        'kafka.client_id = "file"  (in asmg.toml)',
        'kafka.bootstrap = "environment:1"  (as ASMG_KAFKA__BOOTSTRAP)',
        "learning.seed = 2  (on the command line)",
        "learning.pretrain = 11  (preset paper)",
        'topics.models = "asmg-models"  (default)',
    ):
        assert line in shown
    assert len({line.partition(" = ")[0] for line in shown}) == len(shown)


def test_show_masks_a_secret_and_says_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "username": "me", "password": "hunter2"}
    for name, value in given.items():
        monkeypatch.setenv(f"ASMG_KAFKA__{name.upper()}", value)
    assert main(["config", "show", "--origin"]) == 0
    assert 'kafka.password = "***"  (as ASMG_KAFKA__PASSWORD)' in capsys.readouterr().out.splitlines()


def test_a_running_worker_ends_for_a_missing_right_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Right("group", "g", ("Read",), "a test")
    answers = [Unavailable("away"), AccessDenied("a password that is being changed", ""), right.denied("User:me")]

    def asked(*_: object) -> None:
        raise answers.pop(0)

    monkeypatch.setattr(rights_watch, "preflight", asked)
    monkeypatch.setattr(rights_watch, "EVERY", 0.0)
    watch = RightsWatch(KafkaSettings(), [right])
    assert watch() is False
    assert watch() is False
    with pytest.raises(AccessDenied, match="User:me may not read group g"):
        watch()


@pytest.mark.broker
def test_a_running_worker_ends_for_a_topic_that_a_broker_twice_in_a_row_does_not_have(
    broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights_watch, "EVERY", 0.0)
    name = uuid.uuid4().hex[:8]
    names = TopicSettings(f"in-{name}", f"segments-{name}", f"models-{name}", f"dead-{name}")
    watch = RightsWatch(KafkaSettings(broker), [], [names.interactions, names.segments])
    assert watch() is False  # a broker that has just started may not know it yet
    create(KafkaSettings(broker), names)
    assert [watch(), watch()] == [False, False]
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.delete_topics([names.interactions])
    admin.close()
    time.sleep(1.0)  # until the broker itself has heard of it
    assert watch() is False
    with pytest.raises(Unavailable, match=f"has no topic {names.interactions}; create it"):
        watch()


PLAIN_INSTALL = f"""
import sys
sys.modules.update(dict.fromkeys({WORKER_PACKAGES}))  # importing one of them now fails as if it were not installed
from stream_app.cli import main
sys.exit(main(["config", "show", "--role", "subscriber", "--origin", "--set", "subscriber.stale_after=2h"]))
"""


def test_a_plain_install_shows_what_a_serving_process_reads() -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN_INSTALL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "subscriber.stale_after = 7200.0  (on the command line)" in done.stdout.splitlines()
    assert "learning" not in done.stdout

"""`asmg dead-letters list|show|redrive`: each origin once, whatever lies on the topic, and one line where is none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaProducer
from live_helpers import PATIENCE, record

from stream_app.cli.main import main
from stream_app.events.dead_letter import DeadLetter, Origin
from stream_app.live.worker_settings import WorkerSettings
from stream_app.telemetry import utc

pytestmark = pytest.mark.broker
Send = Callable[..., None]
Put = Callable[..., DeadLetter]
Asmg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def send(settings: WorkerSettings, producer: KafkaProducer) -> Send:
    """Puts a message on the topic."""

    def send(value: bytes | None, key: bytes | None, at: int | None = None) -> None:
        topic = settings.topics.dead_letters
        producer.send(topic, value, key, partition=0, timestamp_ms=at).get(PATIENCE)

    return send


@pytest.fixture
def put(send: Send) -> Put:
    """Puts a letter of origin in/1/<offset> on the topic."""

    def put(offset: int, reason: str, value: bytes | None = b"x", at: int | None = None, **more: Any) -> DeadLetter:
        letter = DeadLetter.of(Origin("in", 1, offset), 5, value, reason, "user_id", **more)
        send(letter.encode(), letter.key, at)
        return letter

    return put


@pytest.fixture
def asmg(settings: WorkerSettings, capsys: pytest.CaptureFixture[str]) -> Asmg:
    """Runs the command line in this process: (exit code, stdout, stderr)."""
    names = settings.topics
    topics = {"interactions": names.interactions, "segments": names.segments, "dead_letters": names.dead_letters}
    pairs = [f"kafka.bootstrap={settings.kafka.bootstrap}", f"model={settings.model}"]
    pairs += [f"topics.{name}={topic}" for name, topic in topics.items()]

    def run(*arguments: object, **other: str) -> tuple[int, str, str]:
        given = pairs + [f"topics.{name}={topic}" for name, topic in other.items()]
        flags = [flag for pair in given for flag in ("--set", pair)]
        code = main(["dead-letters", *map(str, arguments), *flags])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def origins(out: str) -> list[str]:
    return [json.loads(line)["origin"] for line in out.splitlines()]


def test_each_origin_is_listed_once_and_what_was_sent_again_only_with_all(send: Send, put: Put, asmg: Asmg) -> None:
    put(1, "wrong-type")
    put(2, "missing-field", b"12345")
    put(1, "missing-field")  # at least once: the latest counts
    closed = put(3, "late")
    send(closed.closed().encode(), closed.key)
    send(b"no letter", b"key")
    send(None, b"in/1/2")

    code, out, err = asmg("list", "--json")
    assert code == 0
    assert origins(out) == ["in/1/2", "in/1/1"]
    assert json.loads(out.splitlines()[0]).items() >= {"reason": "missing-field", "field": "user_id", "size": 5}.items()
    assert err == "asmg: 2 messages of the topic are no dead letters\n"

    code, out, _ = asmg("list", "--all")
    head, *lines, summary = out.splitlines()
    assert head.split() == ["origin", "reason", "field", "time", "size", "state"]
    assert [line.split()[0] for line in lines] == ["in/1/2", "in/1/1", "in/1/3"]
    assert lines[-1].endswith("sent again")
    assert summary == "3 dead letters (missing-field 2, late 1); 3 shown"


def test_filters_name_reasons_a_time_and_a_number(put: Put, asmg: Asmg) -> None:
    began = round(time.time() - 1000)
    for offset in range(6):
        put(offset, "late" if offset % 2 else "wrong-type", at=1000 * (began + offset))
    assert origins(asmg("list", "--json", "--reason", "late")[1]) == ["in/1/1", "in/1/3", "in/1/5"]
    assert origins(asmg("list", "--json", "--limit", 2)[1]) == ["in/1/4", "in/1/5"]
    assert origins(asmg("list", "--json", "--since", utc(began + 4))[1]) == ["in/1/4", "in/1/5"]
    assert origins(asmg("list", "--json", "--since", "1h", "--limit", 0)[1]) == [f"in/1/{n}" for n in range(6)]
    assert asmg("list", "--reason", "late", "--limit", 1)[1].endswith("3 dead letters (late 3); 1 shown\n")


@pytest.mark.parametrize("action", ["list", "redrive"])
def test_a_reason_that_there_is_not_is_refused_with_those_there_are(
    action: str, asmg: Asmg, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        asmg(action, "--reason", "wrongtype")
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("asmg: argument --reason: invalid choice: 'wrongtype'")
    assert "wrong-type" in err


def test_no_letters_and_no_topic_are_said_in_one_line(settings: WorkerSettings, asmg: Asmg) -> None:
    assert asmg("list")[:2] == (0, "0 dead letters; 0 shown\n")
    assert asmg("redrive")[:2] == (0, "0 messages sent; 0 stay\n")
    code, out, err = asmg("list", dead_letters="not-there")
    assert (code, out) == (4, "")
    assert err.startswith("asmg: ")
    assert err.count("\n") == 1
    assert "not-there" in err
    code, out, err = asmg("show", "in/1/7")
    assert (code, out) == (2, "")
    assert "has no dead letter of in/1/7" in err


def test_one_letter_is_shown_in_full_text_as_text_and_bytes_as_hex(put: Put, asmg: Asmg) -> None:
    put(1, "wrong-type", '{"user": "ü"}'.encode(), headers=[("trace", b"\xff"), ("none", None)], record_key=b"u1")
    put(1, "wrong-type", '{"user": "ü"}'.encode(), headers=[("trace", b"\xff"), ("none", None)], record_key=b"u1")
    put(2, "undecodable", b"\xc1\x00")
    shown = json.loads(asmg("show", "in/1/1")[1])
    assert shown["value"] == {"text": '{"user": "ü"}'}
    assert shown["headers"] == [{"name": "trace", "hex": "ff"}, {"name": "none", "text": None}]
    assert (shown["key"], shown["letters"], shown["sent_again"]) == ({"text": "u1"}, 2, False)
    assert json.loads(asmg("show", "in/1/2", "--json")[1])["value"] == {"hex": "c100"}


def test_what_stays_is_told_with_its_reason(settings: WorkerSettings, put: Put, asmg: Asmg) -> None:
    put(1, "wrong-type", record(1, 1, 1))
    code, out, _ = asmg("redrive")
    assert code == 0
    assert out.splitlines() == [
        "in/1/1 stays: it comes from another topic, or from a partition that is no longer there",
        "0 messages sent; 1 stay (other-topic 1)",
    ]
    code, out, _ = asmg("redrive", "--dry-run", "--json")
    assert json.loads(out) == {"origin": "in/1/1", "was": "wrong-type", "became": "other-topic", "field": ""}


@pytest.mark.parametrize("arguments", [("show", "in/1"), ("list", "--since", "yesterday"), ("list", "--limit", "x")])
def test_a_wrong_argument_ends_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dead-letters", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1

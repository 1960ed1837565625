"""What the program says about itself: one line an event, whatever its values hold."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest

from stream_app.telemetry import TelemetrySettings, configure, event, last_words, last_words_in, relay, utc


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("asmg").setLevel(logging.NOTSET)


def said(settings: TelemetrySettings) -> io.StringIO:
    stream = io.StringIO()
    configure(settings, "trainer", stream)
    return stream


def test_an_event_is_one_line_with_its_fields_in_order() -> None:
    stream = said(TelemetrySettings())
    event("period-trained", period=12, version=3, seconds=1.5, late=None, idle=False)
    head, _, rest = stream.getvalue().partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", head)
    assert rest == "info trainer period-trained period=12 version=3 seconds=1.5 idle=false\n"


@pytest.mark.parametrize("value", ["a\nerror trainer all-is-lost", "x=1 y=2", 'say "so"', "", "\x1b[31mred", "\u2028"])
def test_a_value_cannot_break_its_line_or_pass_for_another_field(value: str) -> None:
    stream = said(TelemetrySettings())
    event("dead-letter", reason=value, partition=1)
    (line,) = stream.getvalue().splitlines()
    reason = line.partition(" reason=")[2].removesuffix(" partition=1")
    assert json.loads(reason) == value


def test_json_lines_are_objects() -> None:
    stream = said(TelemetrySettings(format="json"))
    event("version-published", "warning", version=3, reason="a\nb")
    found = json.loads(stream.getvalue())
    del found["time"]
    assert found == {
        **{"level": "warning", "process": "trainer", "event": "version-published"},
        **{"version": 3, "reason": "a\nb"},
    }


def test_what_is_below_the_level_is_not_said() -> None:
    stream = said(TelemetrySettings(level="warning"))
    event("routine")
    event("trouble", "warning")
    assert [line.split()[3] for line in stream.getvalue().splitlines()] == ["trouble"]


def test_libraries_speak_through_the_same_lines_from_warning_on() -> None:
    stream = said(TelemetrySettings(level="debug"))
    logging.getLogger("kafka").info("routine")
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("kafka").exception("it broke")
    (line,) = stream.getvalue().splitlines()
    assert '"it broke" logger=kafka trace="Traceback' in line


def test_configured_twice_nothing_is_said_twice() -> None:
    said(TelemetrySettings())
    stream = said(TelemetrySettings())
    event("once")
    assert stream.getvalue().count("once") == 1


def test_a_reading_of_the_clock_is_written_in_utc() -> None:
    assert utc(1_767_225_600.25) == "2026-01-01T00:00:00.250Z"


def test_where_lines_are_objects_all_are_also_what_children_say_and_the_last_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = said(TelemetrySettings(format="json"))
    relay("collect", '{"event": "segment-sent", "process": "collect"}')
    relay("collect", "Segmentation fault")
    relay("collect", "[1, 2]")
    last_words("the journal is from another run")
    event("scored", auc=float("nan"))
    objects = [json.loads(line) for line in (capsys.readouterr().err + stream.getvalue()).splitlines()]
    assert [one["event"] for one in objects] == ["segment-sent", "said", "said", "ended", "scored"]
    assert [one["line"] for one in objects if one["event"] == "said"] == ["Segmentation fault", "[1, 2]"]
    assert objects[-1]["auc"] == "nan"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_last_words_of_a_process_are_understood_whatever_the_format(
    form: Literal["text", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    stream = said(TelemetrySettings(format=form))
    last_words('topic "a" is gone: make it again')
    (line,) = (capsys.readouterr().err + stream.getvalue()).splitlines()
    assert last_words_in(line) == 'topic "a" is gone: make it again'
    assert last_words_in("Killed") == "Killed"


def test_the_clients_warnings_about_their_own_pace_are_not_passed_on() -> None:
    stream = said(TelemetrySettings())
    logging.getLogger("kafka.net.selector").warning("Task ran for 0.122s (>0.100s threshold)")
    logging.getLogger("kafka.conn").warning("connection lost")
    (line,) = stream.getvalue().splitlines()
    assert "connection lost" in line

"""What the program says about itself: one line an event, whatever its values hold."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from stream_app.telemetry import TelemetrySettings, configure, event, utc


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

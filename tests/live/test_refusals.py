"""Whoever watches the log sees that messages are refused, how many, and an example; a flood does not fill it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from stream_app.events.record import BadRow
from stream_app.live.stages import refusals
from stream_app.live.stages.refusals import EVERY, Refusals
from stream_app.telemetry import TelemetrySettings, configure


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("asmg").setLevel(logging.NOTSET)


def refused(*offsets: int) -> list[BadRow]:
    return [BadRow(offset, "is missing", "item_id", b"") for offset in offsets]


def test_the_first_refusal_is_told_at_once_and_then_the_sum_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, out = [1000.0], io.StringIO()
    monkeypatch.setattr(refusals, "monotonic", lambda: now[0])
    configure(TelemetrySettings(format="json"), "collect", out)
    told = Refusals()
    told.tell("in", 2, refused(7, 8, 9))
    for n in range(10, 110):
        now[0] += EVERY / 200
        told.tell("in", 1, refused(n))
    now[0] += EVERY
    told.tell("in", 0, refused(500, 501))
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    example = {"reason": "is missing", "field": "item_id", "topic": "in"}
    assert [one["event"] for one in said] == ["dead-letters"] * 2
    assert [one["level"] for one in said] == ["warning"] * 2
    assert example.items() <= said[0].items()
    assert [(one["partition"], one["count"], one["offset"]) for one in said] == [(2, 3, 7), (0, 102, 500)]

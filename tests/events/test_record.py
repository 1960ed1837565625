"""Record settings refuse what could only be guessed."""

from __future__ import annotations

import pytest

from stream_app.events.record import RecordSettings


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"user": ""}, "user"),
        ({"item": ""}, "item"),
        ({"time": ""}, "time"),
        ({"max_clock_skew": -1.0}, "max_clock_skew"),
        ({"max_clock_skew": float("nan")}, "max_clock_skew"),
        ({"rating_threshold": float("nan")}, "rating_threshold"),
    ],
)
def test_a_wrong_record_setting_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}:"):
        RecordSettings(**wrong)  # type: ignore[arg-type]


def test_the_time_field_may_be_unnamed_when_kafka_tells_the_time() -> None:
    assert RecordSettings(time="", time_from="kafka").time == ""

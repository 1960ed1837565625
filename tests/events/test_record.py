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
        ({"max_bytes": 0}, "max_bytes"),
        ({"decoder": "package.module"}, "decoder"),
        ({"item": "user_id"}, "item"),
        ({"item": "a..b"}, "item"),
        ({"user": "header:"}, "user"),
        ({"user": "a", "item": "a.b"}, "item"),
        ({"where": {"user_id.x": (1,)}}, "where"),
        ({"where": {"type": ()}}, "where"),
        ({"positive_when": {"type": (1,)}, "label": "clicked"}, "positive_when"),
        ({"positive_when": {"type": (1,)}, "rating": "stars"}, "positive_when"),
        ({"rating": "stars", "label": "clicked"}, "rating"),
        ({"batched": True, "user": "header:u", "item": "header:i"}, "batched"),
    ],
)
def test_a_wrong_record_setting_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}:"):
        RecordSettings(**wrong)  # type: ignore[arg-type]


def test_the_time_field_may_be_unnamed_when_kafka_tells_the_time() -> None:
    assert RecordSettings(time="", time_from="kafka").time == ""

"""Messages: whatever bytes arrive, each one is an interaction, a watermark record, a tombstone or a bad row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.errors import SettingsError
from stream_app.events.record import RecordSettings
from stream_app.formats.decoded import Decoded
from stream_app.formats.encode import Encoder
from stream_app.formats.messages import decoder

END = 2**63 - 1
CLOCK = 1_700_000_000_000  # Kafka timestamp of every message here, in milliseconds
PACK: dict[str, Callable[[object], bytes]] = {
    "msgpack": msgpack.packb,
    "json": lambda value: json.dumps(value).encode(),
}
FORMATS = [RecordSettings(format="msgpack"), RecordSettings(format="json")]
GOOD = {"user_id": 7, "item_id": -8, "timestamp": 1_600_000_000, "label": 1}


def decode(values: Sequence[bytes | None], chosen: RecordSettings, clock: int = CLOCK) -> Decoded:
    """The messages at offsets 100, 101, ..."""
    return decoder(chosen)(values, range(100, 100 + len(values)), [clock] * len(values))


def rows(decoded: Decoded) -> list[tuple[object, ...]]:
    found = decoded.interactions
    columns = (decoded.offsets, found.users, found.items, found.times, found.labels)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def refusals(decoded: Decoded) -> list[tuple[int, str, str]]:
    return [(row.offset, row.reason, row.field) for row in decoded.bad]


def verdict(value: bytes, chosen: RecordSettings) -> tuple[str, str]:
    """(reason, field) of a message that must be refused."""
    decoded = decode([value], chosen)
    assert len(decoded.interactions) == len(decoded.offsets) == 0
    (bad,) = decoded.bad
    assert (bad.offset, bad.value) == (100, value)
    return bad.reason, bad.field


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
def test_an_interaction_comes_in_with_its_offset(chosen: RecordSettings) -> None:
    decoded = decode([PACK[chosen.format](GOOD), PACK[chosen.format]({**GOOD, "label": 0.0, "more": [1]})], chosen)
    assert rows(decoded) == [(100, 7, -8, 1_600_000_000_000_000, 1.0), (101, 7, -8, 1_600_000_000_000_000, 0.0)]
    found = decoded.interactions
    assert [c.dtype for c in (found.users, found.items, found.times, found.labels)] == [
        np.int64,
        np.int64,
        np.int64,
        np.float32,
    ]
    assert (decoded.bad, decoded.marks, decoded.tombstones) == ((), (), 0)


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
def test_no_messages_are_no_interactions(chosen: RecordSettings) -> None:
    for kinds in ("int", "string"):
        decoded = decode([], replace(chosen, user_ids=kinds, item_ids=kinds))
        assert len(decoded.interactions) == 0
        assert decoded.interactions.users.dtype == (np.int64 if kinds == "int" else object)


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
def test_every_truncation_of_a_message_is_a_bad_row(chosen: RecordSettings) -> None:
    for message in (GOOD, {"watermark": 1_600_000_000}):
        value = PACK[chosen.format](message)
        cut = [value[:length] for length in range(len(value))]
        decoded = decode([*cut, PACK[chosen.format](GOOD)], chosen)
        assert len(decoded.bad) == len(cut)
        assert [row.value for row in decoded.bad] == cut
        assert decoded.marks == ()
        assert decoded.offsets.tolist() == [100 + len(cut)]


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ([GOOD], ("not-a-map", "")),
        (5, ("not-a-map", "")),
        (None, ("not-a-map", "")),
        ({}, ("missing-field", "user_id")),
        ({**GOOD, "user_id": "7"}, ("wrong-type", "user_id")),
        ({**GOOD, "user_id": 7.0}, ("wrong-type", "user_id")),
        ({**GOOD, "user_id": True}, ("wrong-type", "user_id")),
        ({**GOOD, "user_id": None}, ("wrong-type", "user_id")),
        ({**GOOD, "user_id": [7]}, ("wrong-type", "user_id")),
        ({**GOOD, "user_id": 2**63}, ("out-of-range", "user_id")),
        ({**GOOD, "item_id": 2**64 - 1}, ("out-of-range", "item_id")),
        ({**GOOD, "label": True}, ("wrong-type", "label")),
        ({**GOOD, "label": "1"}, ("wrong-type", "label")),
        ({**GOOD, "label": 0.5}, ("out-of-range", "label")),
        ({**GOOD, "label": 2}, ("out-of-range", "label")),
        ({**GOOD, "label": -1}, ("out-of-range", "label")),
        ({**GOOD, "timestamp": "2020-01-01"}, ("wrong-type", "timestamp")),
        ({**GOOD, "timestamp": True}, ("wrong-type", "timestamp")),
        ({**GOOD, "timestamp": None}, ("wrong-type", "timestamp")),
        ({**GOOD, "timestamp": 2**62}, ("out-of-range", "timestamp")),
        ({**GOOD, "timestamp": -(2**62)}, ("out-of-range", "timestamp")),
        ({**GOOD, "timestamp": 1e300}, ("out-of-range", "timestamp")),
        ({**GOOD, "timestamp": CLOCK // 1000 + 86_401}, ("clock-skew", "timestamp")),
        ({**GOOD, "timestamp": CLOCK}, ("clock-skew", "timestamp")),  # milliseconds where seconds are meant
        ({"watermark": 2**62}, ("out-of-range", "watermark")),
        ({"watermark": CLOCK // 1000 + 86_401}, ("clock-skew", "watermark")),
        ({"watermark": None}, ("wrong-type", "watermark")),
        ({"watermark": 5, "more": 1}, ("missing-field", "user_id")),
    ],
)
def test_what_is_no_interaction_is_refused_with_its_reason(
    chosen: RecordSettings, message: object, expected: tuple[str, str]
) -> None:
    assert verdict(PACK[chosen.format](message), chosen) == expected


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("msgpack", b"", "empty"),
        ("msgpack", b"\xc1", "undecodable"),
        ("msgpack", msgpack.packb(GOOD) + b"\x00", "undecodable"),
        ("msgpack", b"\xdf\xff\xff\xff\xff", "undecodable"),  # a map that claims four billion entries
        ("msgpack", b"\x81\xa1x" + b"\x91" * 100_000 + b"\x01", "too-deep"),  # nested beyond any stack
        ("json", b"", "empty"),
        ("json", b"\xff\xfe", "wrong-encoding"),
        ("json", b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "undecodable"),
        ("json", json.dumps(GOOD).encode() + b"{}", "undecodable"),
        ("json", b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too-deep"),
        ("json", b"[" * 100_000, "too-deep"),
        ("json", b'{"user_id": NaN}', "undecodable"),
        ("json", b'{"user_id": 1, "item_id": 1, "timestamp": Infinity, "label": 1}', "undecodable"),
    ],
)
def test_bytes_that_are_no_message_are_refused(name: str, value: bytes, reason: str) -> None:
    assert verdict(value, RecordSettings(format=name)) == (reason, "")


def test_nan_in_msgpack_is_out_of_range() -> None:
    for field in ("timestamp", "label"):
        assert verdict(msgpack.packb({**GOOD, field: float("nan")}), FORMATS[0]) == ("out-of-range", field)
    rated = RecordSettings(rating="stars", rating_threshold=4)
    assert verdict(msgpack.packb({**GOOD, "stars": float("nan")}), rated) == ("out-of-range", "stars")
    assert verdict(msgpack.packb({**GOOD, "stars": float("inf")}), rated) == ("out-of-range", "stars")


def test_keys_that_are_no_text_are_refused() -> None:
    assert verdict(msgpack.packb({b"user_id": 7}), FORMATS[0])[0] == "wrong-type"
    assert verdict(msgpack.packb({1: 7}), FORMATS[0])[0] == "wrong-type"


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
def test_string_ids_have_at_most_1024_bytes_and_at_least_one(chosen: RecordSettings) -> None:
    texts = replace(chosen, user_ids="string")
    for user in ("a", "x" * 1024, "ä" * 512, "\U0001f600" * 256, "\x00"):
        (row,) = rows(decode([PACK[chosen.format]({**GOOD, "user_id": user})], texts))
        assert row[1] == user
    for user in ("", "x" * 1025, "ä" * 513, "\U0001f600" * 257):
        assert verdict(PACK[chosen.format]({**GOOD, "user_id": user}), texts) == ("out-of-range", "user_id")
    assert verdict(PACK[chosen.format](GOOD), texts) == ("wrong-type", "user_id")


def test_a_string_that_is_no_utf8_is_refused() -> None:
    texts = replace(FORMATS[0], user_ids="string")
    surrogate = msgpack.packb({**GOOD, "user_id": "\ud800"}, unicode_errors="surrogatepass")
    assert verdict(surrogate, texts) == ("wrong-encoding", "")
    raw = b'{"user_id": "%s", "item_id": 1, "timestamp": 1, "label": 1}'
    for user, reason in ((b"\\ud800", "undecodable"), (b"\xff", "wrong-encoding"), (b"\xed\xa0\x80", "wrong-encoding")):
        assert verdict(raw % user, replace(texts, format="json")) == (reason, "")


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
def test_a_tombstone_is_counted_and_skipped(chosen: RecordSettings) -> None:
    value = PACK[chosen.format](GOOD)
    decoded = decode([None, value, None, value], chosen)
    assert (decoded.tombstones, decoded.offsets.tolist(), decoded.bad) == (2, [101, 103], ())


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
def test_a_watermark_record_is_a_mark_and_no_row(chosen: RecordSettings) -> None:
    pack = PACK[chosen.format]
    values = [pack(GOOD), pack({"watermark": 1_600_000_000.5}), pack({"watermark": "end"}), pack(GOOD)]
    decoded = decode(values, chosen)
    assert decoded.marks == ((101, 1_600_000_000_500_000), (102, END))
    assert decoded.offsets.tolist() == [100, 103]
    assert decoded.bad == ()


@pytest.mark.parametrize(
    ("unit", "given", "expected"),
    [
        ("s", 1_600_000_000, 1_600_000_000_000_000),
        ("s", 1_600_000_000.123456, 1_600_000_000_123_456),
        ("s", -0.5, -500_000),
        ("ms", 1_600_000_000_123, 1_600_000_000_123_000),
        ("ms", 0.4996, 500),
        ("us", 1_600_000_000_123_456, 1_600_000_000_123_456),
        ("us", 1.4, 1),
        ("ns", 1_600_000_000_123_456_999, 1_600_000_000_123_456),
        ("ns", -1, -1),
    ],
)
def test_times_become_microseconds(unit: str, given: float, expected: int) -> None:
    chosen = RecordSettings(time_unit=unit)
    values = [msgpack.packb({**GOOD, "timestamp": time}) for time in (given, given, 1)]
    assert [row[3] for row in rows(decode(values, chosen))][:2] == [expected, expected]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_largest_times_do_not_overflow(unit: str) -> None:
    chosen = RecordSettings(time_unit=unit, max_clock_skew=1e12)
    per_unit = {"s": Fraction(10**6), "ms": Fraction(10**3), "us": Fraction(1), "ns": Fraction(1, 1000)}[unit]
    for power in range(40, 70):
        for time in (2**power, -(2**power), float(2**power), -float(2**power)):
            if abs(time) >= 2**64 and isinstance(time, int):
                continue  # msgpack has no such integer
            decoded = decode([msgpack.packb({**GOOD, "timestamp": time})], chosen, clock=-1)
            exact = Fraction(time) * per_unit
            if abs(exact) <= 2**62 and abs(time) < 2**63 - 1000:
                (row,) = rows(decoded)
                assert abs(row[3] - exact) <= 1
            else:
                assert refusals(decoded)[0][1] == "out-of-range"


def test_kafka_time_stands_in_where_settings_say_so() -> None:
    timeless = {name: value for name, value in GOOD.items() if name != "timestamp"}
    values = [msgpack.packb(message) for message in (GOOD, timeless, {**GOOD, "timestamp": None})]
    assert refusals(decode(values, RecordSettings()))[0] == (101, "missing-field", "timestamp")
    fallback = decode(values, RecordSettings(time_from="field-or-kafka"))
    assert [row[3] for row in rows(fallback)] == [1_600_000_000_000_000, CLOCK * 1000, CLOCK * 1000]
    always = decode(values, RecordSettings(time_from="kafka"))
    assert [row[3] for row in rows(always)] == [CLOCK * 1000] * 3
    for chosen, expected in (("field-or-kafka", [101, 102]), ("kafka", [100, 101, 102])):
        without = decode(values, RecordSettings(time_from=chosen), clock=-1)
        assert refusals(without) == [(offset, "missing-field", "timestamp") for offset in expected]


def test_a_kafka_timestamp_beyond_all_bounds_is_no_crash() -> None:
    for clock in (2**63 - 1, -(2**63)):
        decoded = decode([msgpack.packb(GOOD)], RecordSettings(), clock=clock)
        assert len(decoded.interactions) == 1


def test_clock_skew_is_allowed_up_to_its_limit() -> None:
    chosen = RecordSettings(max_clock_skew=10)
    at = CLOCK // 1000
    values = [msgpack.packb({**GOOD, "timestamp": time}) for time in (at + 10, at + 10.001, at - 10**9)]
    decoded = decode(values, chosen)
    assert decoded.offsets.tolist() == [100, 102]
    assert refusals(decoded) == [(101, "clock-skew", "timestamp")]
    assert decode(values, chosen, clock=-1).bad == ()  # without a Kafka timestamp there is nothing to compare with


def test_a_rating_is_positive_from_its_threshold_on() -> None:
    chosen = RecordSettings(rating="stars", rating_threshold=3.5)
    values = [msgpack.packb({**GOOD, "stars": stars}) for stars in (3.5, 3.49, 5, -1)]
    assert [row[4] for row in rows(decode(values, chosen))] == [1.0, 0.0, 1.0, 0.0]
    assert verdict(msgpack.packb(GOOD), chosen) == ("missing-field", "stars")


def test_without_a_label_field_every_interaction_is_positive() -> None:
    chosen = RecordSettings(label="")
    assert [row[4] for row in rows(decode([msgpack.packb({**GOOD, "label": 0})], chosen))] == [1.0]


JUNK = st.one_of(
    st.binary(max_size=40),
    st.none(),
    st.sampled_from(
        [GOOD, {**GOOD, "timestamp": 5.5}, {**GOOD, "label": 0.5}, {"watermark": 3}, {"watermark": "end"}, [], 1]
    ),
)


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(JUNK, max_size=12), name=st.sampled_from(["msgpack", "json"]))
def test_many_at_once_are_as_one_by_one_and_nothing_is_lost(messages: list[object], name: str) -> None:
    chosen = RecordSettings(format=name)
    values = [m if isinstance(m, bytes) or m is None else PACK[name](m) for m in messages]
    at_once = decode(values, chosen)
    one_by_one = [decoder(chosen)([value], [100 + index], [CLOCK]) for index, value in enumerate(values)]
    assert rows(at_once) == [row for decoded in one_by_one for row in rows(decoded)]
    assert at_once.marks == tuple(mark for decoded in one_by_one for mark in decoded.marks)
    assert at_once.bad == tuple(bad for decoded in one_by_one for bad in decoded.bad)
    assert at_once.tombstones == sum(value is None for value in values)
    answered = len(at_once.interactions) + len(at_once.marks) + len(at_once.bad) + at_once.tombstones
    assert answered == len(values)


TIMES = st.integers(min_value=-(2**50), max_value=2**50)
INT_IDS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXT_IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@settings(max_examples=200, deadline=None)
@given(
    user=INT_IDS,
    item=TEXT_IDS,
    time=TIMES,
    label=st.integers(0, 1),
    name=st.sampled_from(["msgpack", "json"]),
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
    rating=st.sampled_from(["", "stars"]),
)
def test_what_is_sent_comes_in_unchanged(
    user: int, item: str, time: int, label: int, name: str, unit: str, rating: str
) -> None:
    chosen = RecordSettings(format=name, time_unit=unit, rating=rating, rating_threshold=3.1, item_ids="string")
    encoder = Encoder(chosen)
    values = [encoder.interaction(np.int64(user), item, np.int64(time), np.float32(label)), encoder.watermark(time)]
    decoded = decode(values, chosen, clock=-1)
    assert rows(decoded) == [(100, user, item, time, label)]
    assert decoded.marks == ((101, time),)
    assert decoded.bad == ()


def test_the_end_of_a_partition_is_sent_as_a_word() -> None:
    for chosen in FORMATS:
        value = Encoder(chosen).watermark(END)
        assert value in (msgpack.packb({"watermark": "end"}), b'{"watermark":"end"}')
        assert decode([value], chosen).marks == ((100, END),)


def test_a_negative_that_the_settings_cannot_say_is_not_sent() -> None:
    with pytest.raises(SettingsError, match="label 0"):
        Encoder(RecordSettings(label="")).interaction(1, 2, 3, 0)


TAGGED = [replace(chosen, categories="tags") for chosen in FORMATS]
tagged = pytest.mark.parametrize("chosen", TAGGED, ids=lambda chosen: chosen.format)


def categories_of(decoded: Decoded) -> list[tuple[str, ...]]:
    assert decoded.interactions.categories is not None
    return decoded.interactions.categories.tolist()


@tagged
@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (None, ()),
        ([], ()),
        ("War", ("War",)),
        ("War|Drama", ("War|Drama",)),
        (["War"], ("War",)),
        (["b", "é", "a", "b"], ("a", "b", "é")),
        ([str(n) for n in range(64)], tuple(sorted(str(n) for n in range(64)))),
        (["x" * 256, "ä" * 128, "\U0001f600" * 64, "\x00"], ("\x00", "x" * 256, "ä" * 128, "\U0001f600" * 64)),
    ],
)
def test_categories_come_in_sorted_and_once_only(
    chosen: RecordSettings, given_: object, expected: tuple[str, ...]
) -> None:
    decoded = decode([PACK[chosen.format]({**GOOD, "tags": given_}), PACK[chosen.format](GOOD)], chosen)
    assert decoded.bad == ()
    assert categories_of(decoded) == [expected, ()]


@tagged
@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        (5, "wrong-type"),
        (True, "wrong-type"),
        ({"a": 1}, "wrong-type"),
        (["a", 5], "wrong-type"),
        (["a", None], "wrong-type"),
        ([["a"]], "wrong-type"),
        ("", "out-of-range"),
        (["a", ""], "out-of-range"),
        (["a"] * 65, "out-of-range"),
        (["x" * 257], "out-of-range"),
        ("x" * 257, "out-of-range"),
        (["ä" * 129], "out-of-range"),
        ("\U0001f600" * 65, "out-of-range"),
    ],
)
def test_categories_that_are_none_are_refused_with_their_reason(
    chosen: RecordSettings, given_: object, reason: str
) -> None:
    value = PACK[chosen.format]({**GOOD, "tags": given_})
    assert verdict(value, chosen) == (reason, "tags")
    amid = decode(
        [PACK[chosen.format]({**GOOD, "tags": "a"}), value, PACK[chosen.format]({**GOOD, "tags": "b"})], chosen
    )
    assert categories_of(amid) == [("a",), ("b",)]
    assert amid.offsets.tolist() == [100, 102]


@tagged
def test_with_categories_all_other_verdicts_stay(chosen: RecordSettings) -> None:
    pack = PACK[chosen.format]
    assert verdict(pack({**GOOD, "user_id": "7", "tags": ["a"]}), chosen) == ("wrong-type", "user_id")
    assert verdict(pack({"tags": ["a"]}), chosen) == ("missing-field", "user_id")
    assert decode([pack({"watermark": "end"})], chosen).marks == ((100, END),)
    assert categories_of(decode([], chosen)) == []
    timeless = replace(chosen, time_from="kafka", label="")
    assert categories_of(decode([pack({"user_id": 1, "item_id": 2, "tags": "a"})], timeless)) == [("a",)]


@pytest.mark.parametrize("chosen", FORMATS, ids=lambda chosen: chosen.format)
def test_categories_that_nobody_asked_for_are_not_looked_at(chosen: RecordSettings) -> None:
    decoded = decode([PACK[chosen.format]({**GOOD, "tags": 5})], chosen)
    assert (len(decoded.offsets), decoded.interactions.categories) == (1, None)


@settings(max_examples=100, deadline=None)
@given(
    names=st.lists(TEXT_IDS.filter(lambda text: len(text.encode()) <= 256), max_size=64), chosen=st.sampled_from(TAGGED)
)
def test_categories_that_are_sent_come_in(names: list[str], chosen: RecordSettings) -> None:
    decoded = decode([Encoder(chosen).interaction(1, 2, 3, 1, names)], chosen)
    assert decoded.bad == ()
    assert categories_of(decoded) == [tuple(sorted(set(names), key=str.encode))]


def test_what_is_sent_without_categories_is_what_was_sent_before_there_were_any() -> None:
    sent = Encoder(RecordSettings()).interaction(7, -8, 1_600_000_000_000_000, 1)
    assert sent == b"\x84\xa7user_id\x07\xa7item_id\xf8\xa9timestamp\xce_^\x10\x00\xa5label\x01"
    with pytest.raises(SettingsError, match="no field"):
        Encoder(RecordSettings()).interaction(1, 2, 3, 1, ("a",))

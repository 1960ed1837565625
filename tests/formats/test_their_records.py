"""A company's own records: fields wherever they lie, times as text, topics that carry more, many rows in a message."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

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

CLOCK = 1_700_000_000_000
PACK: dict[str, Callable[[object], bytes]] = {
    "msgpack": msgpack.packb,
    "json": lambda value: json.dumps(value).encode(),
}
NESTED = RecordSettings(user="payload.user.id", item="payload.item.id", time="meta.at", label="payload.clicked")
SHOP = RecordSettings(
    label="",
    where={"type": ("view", "purchase")},
    positive_when={"type": ("purchase",)},
    time_unit="iso8601",
    time="at",
)
BATCHED = RecordSettings(batched=True, user="users", item="items", time="times", label="labels")
formats = pytest.mark.parametrize("name", ["msgpack", "json"])
Row = tuple[Any, ...]


def decode(
    values: Sequence[object], chosen: RecordSettings, name: str, headers: Sequence[Any] | None = None
) -> Decoded:
    """The messages (bytes, or what is to be packed) at offsets 100, 101, ..."""
    packed = [value if isinstance(value, bytes | None) else PACK[name](value) for value in values]
    places = range(100, 100 + len(packed))
    return decoder(replace(chosen, format=name))(packed, places, [CLOCK] * len(packed), headers)


def rows(decoded: Decoded) -> list[Row]:
    found = decoded.interactions
    columns = (decoded.offsets, found.users, found.items, found.times, found.labels)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def refusals(decoded: Decoded) -> list[tuple[int, str, str]]:
    return [(row.offset, row.reason, row.field) for row in decoded.bad]


def nested(user: object = 7, item: object = 8, **more: object) -> dict[str, Any]:
    payload = {"user": {"id": user, "name": "x"}, "item": {"id": item}, "clicked": 1}
    return {"meta": {"at": 5, "id": 3}, "payload": payload, "id": "session", **more}


@formats
def test_fields_are_found_at_the_ends_of_their_paths(name: str) -> None:
    decoded = decode([nested(), nested(9, 10)], NESTED, name)
    assert rows(decoded) == [(100, 7, 8, 5_000_000, 1.0), (101, 9, 10, 5_000_000, 1.0)]
    assert decoded.bad == ()


@formats
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (nested("7"), ("wrong-type", "payload.user.id")),
        (nested(2**63), ("out-of-range", "payload.user.id")),
        (nested(payload=5), ("wrong-type", "payload")),
        (nested(payload=None), ("wrong-type", "payload")),
        (nested(meta={}), ("missing-field", "meta.at")),
        ({"meta": {"at": 5}}, ("missing-field", "payload")),
        (nested(payload={"user": {"id": 1}, "clicked": 1}), ("missing-field", "payload.item")),
    ],
)
def test_what_is_wrong_with_a_nested_field_is_named_by_its_path(
    name: str, message: object, expected: tuple[str, str]
) -> None:
    assert refusals(decode([nested(), message], NESTED, name)) == [(101, *expected)]


def test_a_dot_within_a_key_is_written_with_a_backslash() -> None:
    chosen = RecordSettings(user="user\\.id", item="a.b\\.c")
    message = {"user.id": 1, "a": {"b.c": 2}, "timestamp": 3, "label": 0}
    assert rows(decode([message], chosen, "json")) == [(100, 1, 2, 3_000_000, 0.0)]


@formats
@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ('{"payload":{"user":{"id":1},"user":{"id":2},"item":{"id":3},"clicked":1},"meta":{"at":5}}', "payload.user"),
        ('{"payload":{"user":{"id":1,"id":2},"item":{"id":3},"clicked":1},"meta":{"at":5}}', "payload.user.id"),
        ('{"payload":{"user":{"id":1},"item":{"id":3},"clicked":1},"meta":{"at":5},"meta":{"at":5}}', "meta"),
    ],
)
def test_a_key_that_is_there_twice_on_the_way_to_a_field_is_refused(name: str, raw: str, field: str) -> None:
    value = raw.encode() if name == "json" else _msgpack(json.loads(raw, object_pairs_hook=list))
    among = decode([nested(), value, nested()], NESTED, name)
    assert refusals(among) == [(101, "duplicate-key", field)]
    assert len(rows(among)) == 2


@formats
def test_a_key_that_is_there_twice_where_nobody_reads_is_nobodys_business(name: str) -> None:
    raw = '{"payload":{"user":{"id":1,"x":1,"x":2},"item":{"id":3},"clicked":1},"meta":{"at":5},"s":{"id":1,"id":2}}'
    value = raw.encode() if name == "json" else _msgpack(json.loads(raw, object_pairs_hook=list))
    assert rows(decode([value], NESTED, name)) == [(100, 1, 3, 5_000_000, 1.0)]


@pytest.mark.parametrize("second", ['"user\\u005fid"', '"\\u0075ser_id"', '"user_id"'])
def test_a_second_key_in_other_letters_is_seen(second: str) -> None:
    raw = '{"user_id": 1, "item_id": 2, "timestamp": 3, "label": 1, ' + second + ": 9}"
    good = {
        "user_id": 1,
        "item_id": 2,
        "timestamp": 3,
        "label": 1,
        "note": "gr\u00f6\u00dfer user_id",
        "a": '"user_id"',
    }
    assert refusals(decode([good, raw.encode(), good], RecordSettings(), "json")) == [(101, "duplicate-key", "user_id")]
    longer = b"\x85\xa7user_id\x01\xa7item_id\x02\xa9timestamp\x03\xa5label\x01\xd9\x07user_id\x09"
    assert refusals(decode([good, longer], RecordSettings(), "msgpack")) == [(101, "duplicate-key", "user_id")]


def test_a_key_that_is_there_twice_is_seen_beside_text_that_nobody_reads() -> None:
    twice = b"\x86\xa7user_id\x01\xa7item_id\x02\xa9timestamp\x03\xa5label\x01\xa7user_id\x09\xa1x\xa1\xff"
    assert refusals(decode([twice], RecordSettings(), "msgpack")) == [(100, "duplicate-key", "user_id")]


def test_short_keys_are_told_from_the_bytes_around_them() -> None:
    chosen = RecordSettings(user="u", item="i", time="t", label="l")
    good = {"u": 1, "i": 2, "t": 3, "l": 1, "note": "u i t l", "ut": 117}
    twice = b"\x85\xa1u\x01\xa1i\x02\xa1t\x03\xa1l\x01\xd9\x01u\x09"
    assert refusals(decode([good, twice, good], chosen, "msgpack")) == [(101, "duplicate-key", "u")]


@formats
@pytest.mark.parametrize("levels", [62, 63, 64, 400, 50_000])
def test_the_64th_level_is_the_last(name: str, levels: int) -> None:
    """The message itself is the first."""
    good = {"user_id": 1, "item_id": 2, "timestamp": 3, "label": 1}
    if name == "json":
        value = json.dumps(good)[:-1].encode() + b', "x": ' + b"[" * levels + b"]" * levels + b"}"
    else:
        value = b"\x85" + msgpack.packb(good)[1:] + b"\xa1x" + b"\x91" * (levels - 1) + b"\x90"
    for among in ([value], [good, value, good]):
        decoded = decode(among, RecordSettings(), name)
        assert [row.reason for row in decoded.bad] == ["too-deep"] * (levels > 63)


@formats
def test_brackets_in_text_and_bytes_in_numbers_are_no_depth(name: str) -> None:
    message = {"user_id": 1, "item_id": 2, "timestamp": 3, "label": 1, "note": "[{" * 100, "many": [0x91] * 200}
    assert refusals(decode([message], RecordSettings(), name)) == []


@formats
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-01-31T12:00:00Z", datetime(2023, 1, 31, 12, tzinfo=UTC)),
        ("2023-01-31T12:00:00.123456+05:30", datetime(2023, 1, 31, 12, 0, 0, 123456, timezone(timedelta(hours=5.5)))),
        ("2023-01-31 12:00:00.5-0100", datetime(2023, 1, 31, 12, 0, 0, 500000, timezone(timedelta(hours=-1)))),
        ("1969-12-31T23:59:59.999999Z", datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
        ("0001-01-01T00:00:00.000001Z", datetime(1, 1, 1, 0, 0, 0, 1, UTC)),
    ],
)
def test_times_as_text_are_exact_to_the_microsecond(name: str, text: str, expected: datetime) -> None:
    message = {"user_id": 1, "item_id": 2, "at": text, "type": "view"}
    ((*_, time, _),) = rows(decode([message], SHOP, name))
    assert time == (expected - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@formats
def test_a_time_without_a_zone_is_refused_and_the_reason_says_what_is_missing(name: str) -> None:
    message = {"user_id": 1, "item_id": 2, "type": "view"}
    texts = ("2023-01-31T12:00:00", "2023-01-31", "soon", 5, None)
    decoded = decode([{**message, "at": text} for text in texts], SHOP, name)
    assert refusals(decoded) == [(100 + n, "wrong-type", "at") for n in range(5)]
    assert "zone" in decoded.bad[0].text
    assert "ISO 8601" in decoded.bad[1].text
    assert decode([{"watermark": "2023-01-31T12:00:00Z"}], SHOP, name).marks == ((100, 1_675_166_400_000_000),)
    assert refusals(decode([{"watermark": "2023-01-31T12:00:00"}], SHOP, name)) == [(100, "wrong-type", "watermark")]


@settings(max_examples=200, deadline=None)
@given(moment=st.datetimes(timezones=st.just(UTC)), name=st.sampled_from(["msgpack", "json"]))
def test_every_moment_that_is_written_comes_in_as_it_was(moment: datetime, name: str) -> None:
    time = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    chosen = replace(SHOP, format=name, max_clock_skew=1e12)
    value = Encoder(chosen).interaction(1, 2, time, 1)
    assert rows(decoder(chosen)([value], [0], [-1])) == [(0, 1, 2, time, 1.0)]


@formats
def test_one_topic_of_views_carts_and_purchases(name: str) -> None:
    message = {"user_id": 1, "item_id": 2, "at": "2023-01-31T12:00:00Z"}
    carts = [{"type": "cart", "cart_id": "c"}, {"type": "ping"}, {"no": "type"}, {**message, "type": ["view"]}]
    mixed = [{**message, "type": "view"}, *carts, {**message, "type": "purchase"}, {"watermark": "end"}]
    decoded = decode(mixed, SHOP, name)
    assert [(row[0], row[4]) for row in rows(decoded)] == [(100, 0.0), (105, 1.0)]
    assert (decoded.filtered, decoded.bad, len(decoded.marks)) == (4, (), 1)
    assert refusals(decode([{"type": "view"}, [1], b"\xc1"], SHOP, name)) == [
        (100, "missing-field", "user_id"),
        (101, "not-a-map", ""),
        (102, "undecodable" if name == "msgpack" else "wrong-encoding", ""),
    ]


@formats
def test_values_are_compared_as_json_compares_them(name: str) -> None:
    chosen = RecordSettings(where={"a.flag": (True, 3)}, label="")
    base = {"user_id": 1, "item_id": 2, "timestamp": 3}
    given_ = [True, 1, 3, 3.0, "3", "true", None, {}, [3]]
    decoded = decode([{**base, "a": {"flag": flag}} for flag in given_] + [{**base, "a": 5}, base], chosen, name)
    assert [row[0] - 100 for row in rows(decoded)] == [0, 2, 3]
    assert (decoded.filtered, decoded.bad) == (len(given_) - 3 + 2, ())


@formats
def test_fields_in_headers(name: str) -> None:
    chosen = RecordSettings(
        user="header:user", time="header:at", time_unit="ms", label="", where={"header:type": ("view", 7)}
    )
    good = [("user", b"-5"), ("at", b"1500"), ("type", b"view"), ("other", b"\xff"), ("other", None)]

    def without(header: str) -> list[tuple[str, bytes | None]]:
        return [pair for pair in good if pair[0] != header]

    headers: list[Sequence[tuple[str, bytes | None]]] = [
        good,
        [*without("at"), ("at", b"1.5e3")],
        [*without("type"), ("type", b"7")],
        [*without("type"), ("type", b"cart")],
        (),
        [*good, ("user", b"6")],
        [*without("user"), ("user", b"\xff")],
        [*without("user"), ("user", b"5.0")],
        [*without("user"), ("user", b"1_0")],
        [*without("user"), ("user", b"9" * 19)],
        without("user"),
        [*without("at"), ("at", b"nan")],
    ]
    decoded = decode([{"item_id": 9}] * len(headers), chosen, name, headers)
    assert rows(decoded) == [(100 + n, -5, 9, 1_500_000, 1.0) for n in range(3)]
    assert decoded.filtered == 2
    assert refusals(decoded) == [
        (105, "duplicate-key", "header:user"),
        (106, "wrong-encoding", "header:user"),
        (107, "wrong-type", "header:user"),
        (108, "wrong-type", "header:user"),
        (109, "out-of-range", "header:user"),
        (110, "missing-field", "header:user"),
        (111, "wrong-type", "header:at"),
    ]


@formats
def test_each_element_of_a_batched_message_is_a_row_at_its_offset(name: str) -> None:
    message = {"users": [1, 2], "items": [3, 4], "times": [5, 6.5], "labels": [0, 1]}
    empty: dict[str, Any] = {"users": [], "items": [], "times": [], "labels": []}
    decoded = decode([message, empty, {"watermark": "end"}, message], BATCHED, name)
    first = [(100, 1, 3, 5_000_000, 0.0), (100, 2, 4, 6_500_000, 1.0)]
    assert rows(decoded) == [*first, *((103, *row[1:]) for row in first)]
    assert (decoded.bad, len(decoded.marks)) == ((), 1)


@formats
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"items": [1, 2, "x"]}, ("wrong-type", "items[2]")),
        ({"items": [1, 2**63, 2]}, ("out-of-range", "items[1]")),
        ({"labels": [0, 0.5, 2]}, ("out-of-range", "labels[2]")),
        ({"labels": [0, 0.5, 1]}, ("out-of-range", "labels[1]")),
        ({"times": [1, 2, CLOCK]}, ("clock-skew", "times[2]")),
        ({"items": [1, 2]}, ("missing-field", "items[2]")),
        ({"items": [1, 2, 3, 4]}, ("missing-field", "users[3]")),
        ({"items": 5}, ("wrong-type", "items")),
        ({"users": [1] * 10_001, "items": [1] * 10_001, "times": [1] * 10_001, "labels": [1] * 10_001},
         ("too-large", "users")),
    ],
)  # fmt: skip
def test_a_batched_message_with_one_wrong_row_is_refused_as_a_whole(
    name: str, change: dict[str, Any], expected: tuple[str, str]
) -> None:
    message = {"users": [1, 2, 3], "items": [3, 4, 5], "times": [5, 6, 7], "labels": [0, 1, 1]}
    decoded = decode([message, {**message, **change}, message], BATCHED, name)
    assert refusals(decoded) == [(101, *expected)]
    assert [row[0] for row in rows(decoded)] == [100] * 3 + [102] * 3


@formats
def test_in_a_batched_message_what_is_compared_may_be_said_of_each_row_or_of_all(name: str) -> None:
    chosen = replace(BATCHED, label="", where={"kind": ("view", "buy"), "shop": (1,)}, positive_when={"kind": ("buy",)})
    message = {"users": [1, 2, 3], "items": [3, 4, 5], "times": [5, 6, 7], "kind": ["buy", "ping", "view"], "shop": 1}
    decoded = decode([message, {**message, "kind": "buy"}, {**message, "shop": 2}, {"shop": 2}], chosen, name)
    assert [(row[0], row[1], row[4]) for row in rows(decoded)] == [
        (100, 1, 1.0), (100, 3, 0.0), (101, 1, 1.0), (101, 2, 1.0), (101, 3, 1.0),
    ]  # fmt: skip
    assert (decoded.filtered, decoded.bad) == (1 + 3 + 1, ())
    assert refusals(decode([{**message, "kind": ["buy"]}], chosen, name)) == [(100, "missing-field", "kind[1]")]


@formats
def test_rows_that_do_not_fit_into_a_segment_together_are_too_large(name: str) -> None:
    chosen = replace(BATCHED, user_ids="string", max_bytes=2_000_000)
    message = {"users": ["x" * 900] * 1000, "items": [1] * 1000, "times": [1] * 1000, "labels": [1] * 1000}
    assert refusals(decode([message], chosen, name)) == [(100, "too-large", "")]


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)
FIELDS = ["user_id", "item_id", "timestamp", "label", "type", "payload", "meta", "users", "items", "times", "labels"]
MESSAGES = st.one_of(
    st.binary(max_size=30),
    st.none(),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5),
    st.sampled_from(
        [
            nested(),
            {"user_id": 1, "item_id": 2, "at": "2020-01-01T00:00:00Z", "type": "view"},
            {"users": [1, 2], "items": [3, 4], "times": [5, 6], "labels": [0, 1]},
            {"users": [1, 2], "items": [3, 4], "times": [5, 6], "labels": [0, 3]},
            {"type": "cart"},
            {"watermark": "end"},
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    messages=st.lists(MESSAGES, max_size=8),
    chosen=st.sampled_from([NESTED, SHOP, BATCHED]),
    name=st.sampled_from(["msgpack", "json"]),
)
def test_many_at_once_are_as_one_by_one_whatever_the_settings(
    messages: list[object], chosen: RecordSettings, name: str
) -> None:
    many = decode(messages, chosen, name)
    each = [decode([message], chosen, name) for message in messages]
    moved = [[(100 + n, *row[1:]) for row in rows(one)] for n, one in enumerate(each)]
    assert rows(many) == [row for found in moved for row in found]
    assert refusals(many) == [(100 + n, row.reason, row.field) for n, one in enumerate(each) for row in one.bad]
    assert many.filtered == sum(one.filtered for one in each)
    assert many.marks == tuple((100 + n, mark[1]) for n, one in enumerate(each) for mark in one.marks)


@formats
@pytest.mark.parametrize("chosen", [NESTED, SHOP, BATCHED], ids=["nested", "shop", "batched"])
def test_every_truncation_is_a_bad_row(chosen: RecordSettings, name: str) -> None:
    whole = {
        id(NESTED): nested(),
        id(SHOP): {"user_id": 1, "item_id": 2, "at": "2020-01-01T00:00:00Z", "type": "view"},
        id(BATCHED): {"users": [1, 2], "items": [3, 4], "times": [5, 6], "labels": [0, 1]},
    }[id(chosen)]
    value = PACK[name](whole)
    decoded = decode([value[:length] for length in range(len(value))], chosen, name)
    assert len(decoded.bad) == len(value)


@formats
@pytest.mark.parametrize(
    "chosen", [NESTED, replace(SHOP, categories="tags"), BATCHED], ids=["nested", "shop", "batched"]
)
def test_what_is_sent_in_their_format_comes_in_unchanged(chosen: RecordSettings, name: str) -> None:
    encoder = Encoder(replace(chosen, format=name))
    times = [1_600_000_000_123_456, 1_600_000_001_000_000]
    tags = ("a",) if chosen.categories else ()
    values = [encoder.interaction(1, 2, times[0], 1, tags), encoder.interaction(np.int64(3), 4, times[1], 0.0, tags)]
    expected = [(100, 1, 2, times[0], 1.0), (101, 3, 4, times[1], 0.0)]
    assert rows(decode([*values, encoder.watermark(5)], chosen, name)) == expected


@pytest.mark.parametrize(
    ("chosen", "key"),
    [
        (RecordSettings(decoder="json:loads"), "records.decoder"),
        (RecordSettings(user="header:user"), "records"),
        (RecordSettings(where={"user_id": (1,)}), "records.where"),
        (RecordSettings(where={"a": (1,)}, positive_when={"a": (2,)}), "records.positive_when"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_sent(chosen: RecordSettings, key: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Encoder(chosen)
    assert refused.value.key == key


def test_a_negative_whose_value_nobody_knows_is_not_sent() -> None:
    with pytest.raises(SettingsError, match="only positive values are known"):
        Encoder(RecordSettings(positive_when={"type": ("buy",)})).interaction(1, 2, 3, 0)


def _msgpack(pairs: Any) -> bytes:
    """Maps given as lists of pairs: keys may repeat."""
    if not isinstance(pairs, list):
        return msgpack.packb(pairs)
    return bytes([0x80 + len(pairs)]) + b"".join(msgpack.packb(key) + _msgpack(value) for key, value in pairs)

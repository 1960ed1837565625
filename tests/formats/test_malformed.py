"""Every kind of bad message is refused with its reason, wherever it stands, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from benchmarks.malformed import KINDS, encoded, good, malformed
from stream_app.events.record import REASONS, RecordSettings
from stream_app.formats.decoded import Decoded
from stream_app.formats.messages import decoder

NOW = 1_760_000_000
EXPECTED = {  # in msgpack, in JSON
    "not a map": (("not-a-map", ""), ("not-a-map", "")),
    "missing field": (("missing-field", "item_id"), ("missing-field", "item_id")),
    "wrong type": (("wrong-type", "item_id"), ("wrong-type", "item_id")),
    "NaN label": (("out-of-range", "label"), ("undecodable", "")),  # JSON has no NaN
    "id beyond 64 bits": (("out-of-range", "user_id"), ("out-of-range", "user_id")),
    "one year ahead": (("clock-skew", "timestamp"), ("clock-skew", "timestamp")),
    "2 MB value": (("too-large", ""), ("too-large", "")),
    "empty": (("empty", ""), ("empty", "")),
    "truncated": (("undecodable", ""), ("undecodable", "")),
    "not the format": (("not-a-map", ""), ("undecodable", "")),  # { is the number 123 in msgpack
    "wrong encoding": (("wrong-encoding", ""), ("wrong-encoding", "")),
    "null": (("not-a-map", ""), ("not-a-map", "")),
    "deep nesting": (("too-deep", ""), ("too-deep", "")),
    "duplicate keys": (("duplicate-key", "user_id"), ("duplicate-key", "user_id")),
}
FORMATS = ("msgpack", "json")


def decode(values: list[bytes], written: str) -> Decoded:
    return decoder(RecordSettings(format=written))(values, range(len(values)), [NOW * 1000] * len(values))


def content(decoded: Decoded) -> list[tuple[object, ...]]:
    found = decoded.interactions
    return list(
        zip(*(column.tolist() for column in (found.users, found.items, found.times, found.labels)), strict=True)
    )


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_refused_with_its_reason_alone_and_among_good_ones(kind: str, written: str) -> None:
    messages = [good(user, user % 5, NOW - user, user % 2) for user in range(1, 8)]
    bad = malformed(kind, written, messages[3])
    expected = EXPECTED[kind][FORMATS.index(written)]
    alone = decode([bad], written)
    assert [(row.reason, row.field, row.value) for row in alone.bad] == [(*expected, bad)]
    assert len(alone.interactions) == 0

    values = [encoded(message, written) for message in messages]
    for place in range(len(values) + 1):
        among = decode([*values[:place], bad, *values[place:]], written)
        assert [(row.offset, row.reason, row.field) for row in among.bad] == [(place, *expected)]
        assert content(among) == content(decode(values, written))


@pytest.mark.parametrize("written", FORMATS)
def test_all_kinds_at_once_leave_the_content_as_if_they_had_never_been_sent(written: str) -> None:
    messages = [good(user, user % 5, NOW - user, user % 2) for user in range(1, 15)]
    values = [encoded(message, written) for message in messages]
    bad = [malformed(kind, written, message) for kind, message in zip(KINDS, messages, strict=True)]
    mixed = decode(list(chain(*zip(values, bad, strict=True))), written)
    assert content(mixed) == content(decode(values, written))
    found = [(row.reason, row.field) for row in mixed.bad]
    assert found == [EXPECTED[kind][FORMATS.index(written)] for kind in KINDS]
    assert {reason for reason, _ in found} <= set(REASONS)


@pytest.mark.parametrize("written", FORMATS)
def test_once_the_limit_is_raised_a_large_message_is_a_good_one(written: str) -> None:
    large = malformed("2 MB value", written, good(1, 2, NOW, 1))
    chosen = replace(RecordSettings(format=written), max_bytes=3_000_000)
    assert len(decoder(chosen)([large], [0], [NOW * 1000]).interactions) == 1


def test_json_is_utf8_as_a_whole_and_not_only_where_it_is_read() -> None:
    message = encoded(good(1, 2, NOW, 1), "json")
    latin = message[:-1] + b', "name": "Jos\xe9"}'
    decoded = decode([message, latin, message], "json")
    assert [(row.offset, row.reason) for row in decoded.bad] == [(1, "wrong-encoding")]
    assert len(decode([latin.decode("latin-1").encode()], "json").interactions) == 1


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("wrong type", "item_id: expected int, got str"),
        ("NaN label", "label: expected float >= 0.0"),
        ("null", "expected object, got None"),
        ("2 MB value", "has 2000051 bytes, records.max_bytes allows 1000000"),
    ],
)
def test_a_letter_says_what_was_expected(kind: str, said: str) -> None:
    (bad,) = decode([malformed(kind, "msgpack", good(1, 2, NOW, 1))], "msgpack").bad
    assert bad.text == said

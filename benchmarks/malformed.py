"""Messages that are no interactions, of 14 kinds: what a company's producers send when something is wrong with them.

Each is built from a good one with user_id, item_id, timestamp (seconds) and label. Nothing of the program is imported.
"""

from __future__ import annotations

import json
from typing import Any

import msgpack

YEAR_SECONDS = 366 * 86_400
LARGE_BYTES = 2_000_000
NESTED = 200

KINDS = (
    "not a map",
    "missing field",
    "wrong type",
    "NaN label",
    "id beyond 64 bits",
    "one year ahead",
    "2 MB value",
    "empty",
    "truncated",
    "not the format",
    "wrong encoding",
    "null",
    "deep nesting",
    "duplicate keys",
)


def good(user: int, item: int, timestamp: int, label: int) -> dict[str, Any]:
    """The fields of an interaction."""
    return {"user_id": user, "item_id": item, "timestamp": timestamp, "label": label}


def encoded(value: Any, written: str) -> bytes:
    """In "msgpack" or "json"."""
    packed: bytes = msgpack.packb(value) if written == "msgpack" else json.dumps(value).encode()
    return packed


def malformed(kind: str, written: str, message: dict[str, Any]) -> bytes:
    """A message of one of KINDS in "msgpack" or "json", made from a good one."""
    beyond = 2**64 - 1 if written == "msgpack" else 10**30
    changed: dict[str, Any] = {
        "not a map": list(message.values()),
        "missing field": {name: value for name, value in message.items() if name != "item_id"},
        "wrong type": {**message, "item_id": str(message["item_id"])},
        "NaN label": {**message, "label": float("nan")},
        "id beyond 64 bits": {**message, "user_id": beyond},
        "one year ahead": {**message, "timestamp": message["timestamp"] + YEAR_SECONDS},
        "2 MB value": {**message, "note": "x" * LARGE_BYTES},
        "null": None,
        "deep nesting": {**message, "note": _nested(NESTED)},
    }
    if kind in changed:
        return encoded(changed[kind], written)
    whole = encoded(message, written)
    return {
        "empty": b"",
        "truncated": whole[: len(whole) * 2 // 3],
        "not the format": json.dumps(message).encode() if written == "msgpack" else whole.replace(b'"', b"'"),
        "wrong encoding": _in_latin_1(message) if written == "msgpack" else whole.decode().encode("utf-16"),
        "duplicate keys": _doubled(whole, written, message["user_id"]),
    }[kind]


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def _in_latin_1(message: dict[str, Any]) -> bytes:
    """With an id that is text, as old clients write it: bytes that are no UTF-8, marked as text."""
    raw = "M\xfcller".encode("latin-1")
    packed: bytes = msgpack.packb({**message, "user_id": raw}, use_bin_type=False)
    return packed


def _doubled(whole: bytes, written: str, user: int) -> bytes:
    if written == "json":
        return whole[:-1] + b', "user_id": %d}' % (user + 1)
    entries: bytes = msgpack.packb("user_id") + msgpack.packb(user + 1)
    return bytes([whole[0] + 1]) + whole[1:] + entries

"""A vocabulary whose ids are not all different, or are no text, is refused; finding out takes little memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_app.versions.columns import ids_to_tensors
from stream_app.versions.distinct import check_ids
from stream_app.versions.tensors import Array

ENDS = [-(2**63), 2**63 - 1]


def agrees(ids: list[Any], column: Any) -> None:
    tensors = ids_to_tensors("users", column)
    if len(set(ids)) == len(ids):
        assert check_ids("users", tensors) == len(ids)
    else:
        with pytest.raises(ValueError, match="users has the same id twice"):
            check_ids("users", tensors)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-5, 40) | st.integers(*ENDS), max_size=30))
@example([*ENDS, 0])
@example([-(2**63), -(2**63) + 1, -(2**63)])
def test_integers_that_stand_twice_are_found(ids: list[int]) -> None:
    agrees(ids, np.array(ids, np.int64))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("aé\0日", max_size=4) | st.text(max_size=100), max_size=30))
@example(["", "\0", "\0\0", "\0\0\0"])
@example(["x" * 100 + "a", "x" * 100 + "b"])
@example(["x" * 100, "y", "x" * 100])
def test_strings_that_stand_twice_are_found(ids: list[str]) -> None:
    agrees(ids, np.array(ids, object))


def test_the_same_hash_is_not_the_same_string(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_app.versions.distinct._FACTORS", np.ones(9, np.uint64))
    ids = ["abcdefgh12345678", "12345678abcdefgh", "b"]
    agrees(ids, np.array(ids, object))
    agrees([*ids, ids[1]], np.array([*ids, ids[1]], object))


def test_what_stands_twice_is_found_across_blocks() -> None:
    draw = np.random.default_rng(1)
    for column in (np.arange(150_000), draw.integers(0, 2**62, 150_000), np.arange(150_000).astype(str).astype(object)):
        agrees(list(column), column)
        again = np.append(column, column[:1])
        agrees(list(again), again)


@pytest.mark.parametrize(
    ("raw", "offsets"),
    [
        (b"\xff\xfe", [0, 2]),
        ("é".encode(), [0, 1, 2]),
        ("é".encode(), [0, 1, 1, 2]),
        ("aé".encode(), [0, 2, 3]),
        (b"\xed\xa0\x80", [0, 3]),
        (b"ab", [0, 1]),
        (b"ab", [0, 2, 1, 2]),
        (b"ab", []),
    ],
    ids=["no text", "cut", "cut by nothing", "cut behind", "half a pair", "left over", "back", "no offsets"],
)
def test_bytes_that_are_no_strings_are_refused(raw: bytes, offsets: list[int]) -> None:
    tensors: dict[str, Array] = {
        "vocabulary.users.bytes": np.frombuffer(raw, np.uint8),
        "vocabulary.users.offsets": np.array(offsets, np.int64),
    }
    with pytest.raises(ValueError, match="vocabulary of users"):
        check_ids("users", tensors)


@pytest.mark.parametrize(("kind", "each"), [("dense", 2), ("sparse", 10), ("strings", 30)])
def test_memory_for_an_id_is_a_few_bytes(kind: str, each: int) -> None:
    count = 2_000_000 if kind == "dense" else 400_000
    ids = {"dense": np.arange(count), "sparse": np.arange(count) ** 3, "strings": np.arange(count).astype(str)}[kind]
    tensors = ids_to_tensors("users", ids.astype(object) if kind == "strings" else ids)
    tracemalloc.start()
    try:
        assert check_ids("users", tensors) == count
        assert tracemalloc.get_traced_memory()[1] < each * count + 5_000_000
    finally:
        tracemalloc.stop()

"""Ids and rows: every id finds its own row, whatever the ids look like; no other finds any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulators import tiny_version

from stream_app.serving.derived import derived
from stream_app.serving.ids import IdRows, derived_ids, id_rows
from stream_app.serving.ids.integers import DenseIds, SparseIds
from stream_app.versions.columns import ids_to_tensors
from stream_app.versions.tensors import TensorSpec

INTEGERS = st.integers(-(2**63), 2**63 - 1)
DRAW = np.random.default_rng(7)
KINDS = {
    "dense": DRAW.permutation(np.arange(-500, 2500)),
    "sparse": np.unique(DRAW.integers(-(2**63), 2**63 - 1, 3000)),
    "a progression": np.arange(3000) * 2**40,
    "high bits only": np.arange(-500, 500) << 52,
    "the ends of the integers": np.array([2**63 - 1, -(2**63), 0, -1, 1]),
    "more than are placed at a time": DRAW.permutation(200_000) * 2**24,
    "one": np.array([5]),
    "none": np.zeros(0, np.int64),
}


class NoDigest:
    """A digest that says nothing."""

    def digest(self) -> bytes:
        return bytes(8)


def rows_of(ids: Any, seed: str = "seed") -> IdRows:
    tensors = ids_to_tensors("items", ids)
    return id_rows("items", tensors, derived_ids("items", tensors, seed))


@pytest.mark.parametrize("kind", KINDS)
def test_integers_find_their_rows_and_their_neighbours_none(kind: str) -> None:
    ids = KINDS[kind]
    rows = rows_of(ids)
    assert len(rows) == len(ids)
    np.testing.assert_array_equal(rows.of(ids), np.arange(1, len(ids) + 1))
    own = set(ids.tolist())
    strangers = [id for near in (-1, 1) for id in (ids[:500].astype(object) + near).tolist() if id not in own]
    strangers = [id for id in (*strangers, 2**63 - 1, -(2**63)) if -(2**63) <= id < 2**63 and id not in own]
    assert not rows.of(strangers).any()


def test_dense_ids_are_read_directly_and_sparse_ones_from_slots() -> None:
    assert isinstance(rows_of(KINDS["dense"]), DenseIds)
    assert all(isinstance(rows_of(KINDS[kind]), SparseIds) for kind in ("sparse", "the ends of the integers"))


@settings(max_examples=50, deadline=None)
@given(st.lists(INTEGERS, unique=True, max_size=40), st.lists(INTEGERS, max_size=10))
@example([2**63 - 1, 2**63 - 2], [-(2**63), -(2**63) + 1])
@example([-(2**63) + 1], [2**63 - 1, -(2**63)])
@example([-(2**63)], [2**63 - 1, -(2**63) + 1])
def test_any_integers_are_told_apart(ids: list[int], others: list[int]) -> None:
    wanted = [ids.index(id) + 1 if id in ids else 0 for id in ids + others]
    np.testing.assert_array_equal(rows_of(np.array(ids, np.int64)).of(ids + others), wanted)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=8), unique=True, max_size=30), st.lists(st.text(max_size=8), max_size=10))
@example(["", "\0", "\0\0", "a", "a\0", "\0a"], ["b\0", "\0\0\0"])
@example(["x" * 3000, "x" * 3001, "x" * 1500 + "y" + "x" * 1499], ["x" * 2999])
def test_any_strings_are_told_apart(ids: list[str], others: list[str]) -> None:
    rows = rows_of(np.array(ids, object))
    wanted = [ids.index(id) + 1 if id in ids else 0 for id in ids + others]
    np.testing.assert_array_equal(rows.of(ids + others), wanted)


def test_strings_with_the_same_hash_are_told_apart_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = np.array([1] * 8 + [0], np.uint64)  # the words in any order, and no length
    monkeypatch.setattr("stream_app.serving.ids.texts._factors", lambda odd: factors)
    monkeypatch.setattr("stream_app.versions.utf8.hashlib.blake2b", lambda *_, **__: NoDigest())
    ids = ["abcdefgh12345678", "12345678abcdefgh", "a", "a\0", "x" * 64 + "a", "x" * 64 + "b"]
    others = ["a\0\0", "x" * 64 + "c", "x" * 64 + "aa", "d"]
    assert rows_of(np.array(ids, object)).of([*ids, *others]).tolist() == [1, 2, 3, 4, 5, 6, 0, 0, 0, 0]


@pytest.mark.parametrize("ids", [["a"] * 5, [3] * 5], ids=["strings", "integers"])
def test_an_id_that_stands_many_times_is_refused_and_not_sought_for_ever(ids: Sequence[Any]) -> None:
    with pytest.raises(ValueError, match="same id"):
        rows_of(np.array([*ids, "b"], object) if ids[0] == "a" else np.array([*ids, 2**62]))


def test_text_that_is_no_text_of_any_vocabulary_is_unknown() -> None:
    assert rows_of(np.array(["a"], object)).of(["\ud800", "a"]).tolist() == [0, 1]


def test_what_is_derived_depends_on_the_version_alone_and_can_be_stored() -> None:
    version = tiny_version(users=[2**40, 3, 2**50], items=["b", "a"])
    first, second = derived(version), derived(version)
    assert list(first) == list(second)
    for name, array in first.items():
        TensorSpec.of(name, array)
        np.testing.assert_array_equal(array, second[name])

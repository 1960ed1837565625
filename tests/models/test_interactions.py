"""Interactions: one canonical order whatever the arrival, and a digest that anybody can compute."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from models.interactions import Interactions, category_column, sortable

Row = tuple[int | str, int | str, int, float]


def build(rows: list[Row], kind: str = "int") -> Interactions:
    def column(at: int) -> np.ndarray:
        values = np.empty(len(rows), np.int64 if kind == "int" else object)
        values[:] = [row[at] for row in rows]
        return values

    times = np.array([row[2] for row in rows], np.int64)
    return Interactions(column(0), column(1), times, np.array([row[3] for row in rows], np.float32))


def rows_of(interactions: Interactions) -> list[Row]:
    columns = (interactions.users, interactions.items, interactions.times, interactions.labels)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def random_rows(seed: int, kind: str) -> list[Row]:
    draw = np.random.default_rng(seed)
    names = ["", "a", "aa", "b", "ä", "z", "ﬀ", "\U0001f600", "Z"]
    ids = names if kind == "string" else [-5, 0, 3, 10, 2**62, -(2**62), 11, 12, 13]
    return [
        (ids[draw.integers(9)], ids[draw.integers(9)], int(draw.integers(-2, 3)), float(draw.integers(2)))
        for _ in range(60)
    ]


def canonical_key(row: Row) -> tuple[object, ...]:
    user, item = (one.encode() if isinstance(one, str) else one for one in row[:2])
    return row[2], user, item, row[3]


@pytest.mark.parametrize("kind", ["int", "string"])
@pytest.mark.parametrize("seed", range(5))
def test_canonical_order_is_time_user_item_label_for_every_arrival(seed: int, kind: str) -> None:
    rows = random_rows(seed, kind)
    expected = sorted(rows, key=canonical_key)
    assert rows_of(build(rows, kind).canonical()) == expected
    shuffled = [rows[at] for at in np.random.default_rng(99).permutation(len(rows))]
    assert rows_of(build(shuffled, kind).canonical()) == expected
    assert build(shuffled, kind).canonical().digest() == build(rows, kind).canonical().digest()


@pytest.mark.parametrize("kind", ["int", "string"])
def test_digest_equals_one_computed_by_hand(kind: str) -> None:
    rows = random_rows(0, kind)
    data = b""
    for at in (0, 1):
        for one in (row[at] for row in rows):
            data += (
                struct.pack("<q", one) if isinstance(one, int) else struct.pack("<I", len(one.encode())) + one.encode()
            )
    data += b"".join(struct.pack("<q", row[2]) for row in rows)
    data += b"".join(struct.pack("<f", row[3]) for row in rows)
    assert build(rows, kind).digest() == hashlib.sha256(data).hexdigest()


def test_every_column_changes_the_digest() -> None:
    row: Row = (1, 2, 3, 1.0)
    others: list[Row] = [(9, 2, 3, 1.0), (1, 9, 3, 1.0), (1, 2, 9, 1.0), (1, 2, 3, 0.0)]
    assert len({build([one]).digest() for one in [row, *others]}) == 5
    # Where one string ends and the next begins counts too.
    assert build([("a", "bc", 0, 1)], "string").digest() != build([("ab", "c", 0, 1)], "string").digest()


def test_sortable_follows_utf8_bytes() -> None:
    texts = np.array(["z", "", "ﬀ", "\U0001f600", "ä", "z"], object)
    keys = sortable(texts).tolist()
    assert sorted(range(6), key=keys.__getitem__) == sorted(range(6), key=lambda at: texts[at].encode())
    assert keys[0] == keys[5]


def test_parts_join_and_rows_are_chosen() -> None:
    rows = random_rows(1, "int")
    parts = [build(rows[:10]), Interactions.empty(), build(rows[10:])]
    assert rows_of(Interactions.concatenate(parts)) == rows
    assert rows_of(build(rows).select(slice(3, 5))) == rows[3:5]
    assert rows_of(build(rows).select(np.array([4, 1]))) == [rows[4], rows[1]]
    assert len(Interactions.empty("string", "int")) == 0
    assert Interactions.empty("string", "int").users.dtype == object


def test_columns_of_different_lengths_are_refused() -> None:
    one, two = np.zeros(1, np.int64), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        Interactions(one, one, two, np.zeros(1, np.float32))


NAMED: list[tuple[str, ...]] = [
    (),
    ("Drama",),
    ("Drama", "War"),
    ("War",),
    ("war",),
    ("Ärger",),
    ("\uffff",),
    ("\U00010000",),
]
"""By hand: a beginning before what goes on, then by code point, which UTF-16 units would turn round at the end."""


def named(rows: list[Row], categories: list[tuple[str, ...]]) -> Interactions:
    return replace(build(rows), categories=category_column(categories))


def test_categories_are_the_last_key_of_the_canonical_order() -> None:
    low, high = (1, 1, 1, 0.0), (1, 1, 1, 1.0)
    rows = [(low, ("z",)), *((high, names) for names in NAMED), ((2, 1, 1, 0.0), ())]
    for seed in range(5):
        shuffled = [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]
        found = named([row for row, _ in shuffled], [names for _, names in shuffled]).canonical()
        assert found.categories is not None
        assert list(zip(rows_of(found), found.categories.tolist(), strict=True)) == rows


def test_a_digest_with_categories_equals_one_computed_by_hand() -> None:
    found = named([(7, 8, 9, 1.0), (7, 8, 9, 0.0)], [("é", "b"), ()])
    data = struct.pack("<2q2q2q2f", 7, 7, 8, 8, 9, 9, 1.0, 0.0)
    data += struct.pack("<I", 2) + struct.pack("<I", 1) + b"b" + struct.pack("<I", 2) + b"\xc3\xa9"
    data += struct.pack("<I", 0)
    assert found.digest() == hashlib.sha256(data).hexdigest()


def test_every_difference_in_categories_changes_the_digest() -> None:
    rows: list[Row] = [(1, 1, 1, 1.0)] * 2
    columns: list[list[tuple[str, ...]]] = [[(), ()], [("a",), ()], [(), ("a",)], [("a", "b"), ()], [("ab",), ()]]
    digests = {named(rows, column).digest() for column in columns}
    assert len(digests | {build(rows).digest()}) == 6


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("int", "00d31d68f6468ac933186ee0898fc67b73c23b8846100ac8accd33230adccf70"),
        ("string", "4f741da6cd2aea6c19ed13919567aae5e15aa1c087e91c29a773133a5ff95e07"),
    ],
)
def test_without_categories_the_digest_is_what_it_was_before_there_were_any(kind: str, before: str) -> None:
    assert build(random_rows(0, kind), kind).canonical().digest() == before


def test_order_and_repeats_within_a_row_say_nothing() -> None:
    given = [*permutations(["b", "a", "c"]), ("a", "b", "c", "a")]
    assert category_column(given).tolist() == [("a", "b", "c")] * 7
    assert category_column([["x"], ["y"]]).shape == (2,)


def test_categories_go_with_their_rows() -> None:
    whole = named([(at, at, at, 1.0) for at in range(4)], [("a",), (), ("b", "c"), ("a",)])
    parts = [whole.select(slice(0, 1)), Interactions.empty(categories=True), whole.select(np.array([3, 2]))]
    joined = Interactions.concatenate(parts)
    assert joined.users.tolist() == [0, 3, 2]
    assert joined.categories is not None
    assert joined.categories.tolist() == [("a",), ("a",), ("b", "c")]
    assert whole.select(whole.users == 1).categories.tolist() == [()]
    assert build([(1, 1, 1, 1.0)]).canonical().categories is None


def test_parts_with_and_without_categories_are_not_joined() -> None:
    rows: list[Row] = [(1, 1, 1, 1.0)]
    with pytest.raises(ValueError, match="1 of 2 parts have categories"):
        Interactions.concatenate([build(rows), named(rows, [()])])


@pytest.mark.parametrize("wrong", [np.array([("a",), ("b",)], object), np.array(["a", "b"]), category_column([()])])
def test_categories_that_are_no_column_of_tuples_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"category_column|\[1, 2\]"):
        replace(build([(1, 1, 1, 1.0)] * 2), categories=wrong)

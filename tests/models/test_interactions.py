"""Interactions: one canonical order whatever the arrival, and a digest that anybody can compute."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from models.interactions import Interactions, sortable

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

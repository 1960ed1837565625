"""Vocabulary: rows in order of birth, row 0 for everybody unknown, a row never changes its owner."""

from __future__ import annotations

import numpy as np
import pytest

from models.interactions import Ids
from models.vocabulary import Vocabulary


def ids(values: list[int] | list[str], kind: str) -> Ids:
    if kind == "int":
        return np.array([int(value) for value in values], np.int64)
    column = np.empty(len(values), object)
    column[:] = [f"id {value} ä" for value in values]
    return column


@pytest.mark.parametrize("kind", ["int", "string"])
def test_rows_are_numbered_in_order_of_first_appearance(kind: str) -> None:
    vocabulary = Vocabulary.empty(kind).extended(ids([30, -7, 30, 12, -7], kind))
    assert vocabulary.ids.tolist() == ids([30, -7, 12], kind).tolist()
    assert vocabulary.rows(ids([12, 30, 99, -7], kind)).tolist() == [3, 1, 0, 2]
    assert (len(vocabulary), vocabulary.size) == (3, 4)


@pytest.mark.parametrize("kind", ["int", "string"])
@pytest.mark.parametrize("seed", range(5))
def test_growing_period_by_period_equals_a_dictionary(kind: str, seed: int) -> None:
    draw = np.random.default_rng(seed)
    vocabulary, expected = Vocabulary.empty(kind), {}
    for _ in range(12):
        column = ids(draw.integers(-40, 40, draw.integers(0, 25)).tolist(), kind)
        for one in column.tolist():
            expected.setdefault(one, len(expected) + 1)
        vocabulary, rows = vocabulary.encoded(column)
        assert rows.dtype == np.int32
        assert rows.tolist() == [expected[one] for one in column.tolist()]
    everything = ids(list(range(-50, 50)), kind)
    answers = [expected.get(one, 0) for one in everything.tolist()]
    assert vocabulary.rows(everything).tolist() == answers
    # As after a restart: only the ids were kept.
    assert Vocabulary(vocabulary.ids).rows(everything).tolist() == answers


def test_growing_leaves_the_old_vocabulary_as_it_was() -> None:
    old = Vocabulary.empty("int").extended(ids([1, 2], "int"))
    grown = old.extended(ids([3], "int"))
    assert old.ids.tolist() == [1, 2]
    assert old.rows(ids([3], "int")).tolist() == [0]
    assert grown.rows(ids([3], "int")).tolist() == [3]


def test_the_ends_of_int64_are_ids_like_others() -> None:
    ends = np.array([np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0], np.int64)
    assert Vocabulary.empty("int").encoded(ends)[1].tolist() == [1, 2, 3]


def test_ids_of_another_type_are_refused() -> None:
    vocabulary = Vocabulary.empty("int")
    with pytest.raises(ValueError, match="int64"):
        vocabulary.extended(ids(["a"], "string"))
    with pytest.raises(ValueError, match="int64"):
        vocabulary.rows(ids(["a"], "string"))
    with pytest.raises(ValueError, match="uuid"):
        Vocabulary.empty("uuid")

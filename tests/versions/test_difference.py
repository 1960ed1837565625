"""What `asmg versions diff` compares: values counted by hand, ids by id, and nothing that is of other ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from simulators import tiny_version

from stream_app.versions import difference
from stream_app.versions.difference import Growth, TensorChange, differing, growth, tensor_changes
from stream_app.versions.model_version import ModelVersion


def compared(first: ModelVersion, second: ModelVersion) -> tuple[dict[str, Growth], dict[str, TensorChange]]:
    grown = growth(first, second)
    return grown, tensor_changes(first, second, grown)


def grown_by_two() -> tuple[ModelVersion, ModelVersion]:
    """Users 3 -> 5, items stay; of the user table rows 1 and 3 have moved, by -2 and by .25."""
    first = tiny_version(1)
    user, others = first.tensors["parameters.user"], {name: first.tensors[name] for name in first.tensors}
    moved = np.vstack([user, np.ones((2, 8), np.float32)])
    moved[1, 0] -= np.float32(2)
    moved[3, 7] += np.float32(0.25)
    kept = {name: array for name, array in others.items() if not name.startswith(("vocabulary.", "parameters.user"))}
    return first, tiny_version(2, first.digest, users=(11, 7, 5, 1, 2), replaced={**kept, "parameters.user": moved})


@pytest.mark.parametrize("block", [16 << 20, 1])
def test_rows_are_counted_and_the_largest_change_is_found(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difference, "_BLOCK_BYTES", block)
    grown, changes = compared(*grown_by_two())
    assert grown == {"users": Growth(3, 5, 2, 0, True), "items": Growth(4, 4, 0, 0, True)}
    user = changes.pop("parameters.user")
    assert (user.rows, user.changed, user.added, user.not_compared) == (4, 2, 2, "")
    assert user.largest == pytest.approx(2, abs=1e-6)
    assert {(one.changed, one.added, one.largest) for one in changes.values()} == {(0, 0, 0.0)}


def test_the_other_way_round_rows_and_ids_are_gone() -> None:
    grown, changes = compared(*reversed(grown_by_two()))
    assert grown["users"] == Growth(5, 3, 0, 2, True)
    user = changes["parameters.user"]
    assert (user.rows, user.changed, user.added) == (4, 2, -2)


def test_strings_continue_each_other_by_id_not_by_bytes() -> None:
    first, same, other = (tiny_version(users=ids) for ids in (("ab", "c"), ("ab", "c", "d"), ("a", "bc")))
    assert growth(first, same)["users"] == Growth(2, 3, 1, 0, True)
    assert growth(first, other)["users"] == Growth(2, 2, 2, 2, False)


def test_rows_of_other_ids_are_not_compared() -> None:
    first, second = tiny_version(users=range(40)), tiny_version(users=range(1, 51), seed=1)
    grown, changes = compared(first, second)
    assert grown["users"] == Growth(40, 50, 11, 1, False)
    assert changes["parameters.user"] == TensorChange(0, 0, 10, None, "its rows are of other users")
    assert changes["parameters.item"].changed == 5, "items are the same ids"


def test_ids_of_another_type_are_other_ids() -> None:
    assert growth(tiny_version(users=(1, 2)), tiny_version(users=("1", "2")))["users"] == Growth(2, 2, 2, 2, False)


def test_tensors_of_one_version_only_and_of_other_shapes_are_named() -> None:
    first = tiny_version(replaced={"parameters.extra": np.zeros((), np.float32)})
    second = tiny_version(replaced={"parameters.w1": np.zeros((3, 3), np.float32)})
    _, changes = compared(first, second)
    assert changes["parameters.extra"].not_compared == "only in the first"
    assert compared(second, first)[1]["parameters.extra"].not_compared == "only in the second"
    assert changes["parameters.w1"].not_compared == "[24, 12] and [3, 3] do not fit each other"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (np.zeros(2, np.float32), np.array([0, -0.0], np.float32), (2, 1, 0.0)),
        (np.zeros(2, np.float32), np.array([0, np.nan], np.float32), (2, 1, None)),
        (np.zeros(2, np.float32), np.array([np.inf, 0], np.float32), (2, 1, None)),
        (np.float32(1), np.float32(4), (1, 1, 3.0)),
        (np.zeros((3, 0), np.float32), np.zeros((3, 0), np.float32), (3, 0, 0.0)),
        (np.zeros(0, np.float32), np.zeros(0, np.float32), (0, 0, None)),
        (np.arange(3, dtype=np.int32), np.array([0, 9, 2], np.int32), (3, 1, None)),
        (np.full(1, 3e38, np.float32), np.full(1, -3e38, np.float32), (1, 1, 2 * float(np.float32(3e38)))),
    ],
)
def test_odd_values_and_shapes(one: Any, other: Any, expected: tuple[int, int, float | None]) -> None:
    versions = [tiny_version(replaced={"parameters.odd": np.asarray(array)}) for array in (one, other)]
    odd = compared(*versions)[1]["parameters.odd"]
    assert (odd.rows, odd.changed, odd.largest) == expected


def test_categories_are_compared_where_both_have_them() -> None:
    plain, with_them = tiny_version(items=(1, 2)), tiny_version(items=(1, 2), categories=((1,), (2, 3)))
    moved = tiny_version(items=(1, 2), categories=((1,), (1, 3)))
    assert "categories" not in growth(plain, with_them)
    grown, changes = compared(with_them, moved)
    assert grown["categories"] == Growth(3, 3, 0, 0, True)
    assert (changes["item_categories.rows"].changed, changes["item_categories.offsets"].changed) == (1, 0)


def test_only_what_differs_is_said() -> None:
    assert differing({"a": 1, "b": 2}, {"c": 3, "b": 2, "a": 4}) == {"a": (1, 4), "c": (None, 3)}

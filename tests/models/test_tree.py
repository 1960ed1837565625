"""A state taken apart into leaves comes back as it was, and one that was tampered with does not come back at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.interactions import Ids
from models.tree import Leaf, flatten, restore


@dataclass(frozen=True)
class Nothing:
    pass


@dataclass(frozen=True)
class Moments:
    m: Tensor
    last: NDArray[np.int32]
    step: int


@dataclass(frozen=True)
class Weights:
    values: Mapping[str, Tensor]
    name: Literal["gru", "linear"]


@dataclass(frozen=True)
class State:
    number: int
    rate: float
    flag: bool
    text: str
    ids: Ids
    moments: Moments | None
    earlier: tuple[Moments, ...]
    pair: tuple[int, Tensor]
    methods: Mapping[str, Weights | Nothing]
    nested: Mapping[str, Mapping[str, Tensor]]
    lists: tuple[tuple[int, ...], ...]
    threshold: float | None
    window: tuple[Mapping[str, Tensor], ...]


def moments(step: int) -> Moments:
    return Moments(torch.full((3, 2), step + 0.5), np.arange(step, dtype=np.int32), step)


def state() -> State:
    return State(
        number=3,
        rate=0.25,
        flag=True,
        text="a,b.c",
        ids=np.array(["ä", "", "x.y"], object),
        moments=moments(1),
        earlier=(moments(2), moments(0)),
        pair=(7, torch.tensor([1, 2])),
        methods={"iu": Nothing(), "asmg": Weights({"user.uz": torch.ones(2), "b": torch.zeros(0)}, "gru")},
        nested={"full": {"w": torch.ones(1)}, "empty": {}},
        lists=((), (1, 2), ()),
        threshold=None,
        window=({"w": torch.ones(1)}, {}),
    )


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b) or (isinstance(a, Mapping) and isinstance(b, Mapping))
    if is_dataclass(a):
        for field in fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, Mapping):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    elif isinstance(a, Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    else:
        assert a == b


def test_every_kind_of_node_and_leaf_round_trips() -> None:
    assert_same(restore(State, flatten(state())), state())


def test_the_order_in_which_leaves_come_back_does_not_matter() -> None:
    leaves = flatten(state())
    restored = restore(State, dict(sorted(leaves.items(), reverse=True)))
    assert list(restored.methods) == ["iu", "asmg"]
    assert_same(restored, state())


def test_leaves_are_plain_and_have_dotted_paths() -> None:
    leaves = flatten(state())
    assert torch.equal(leaves["methods.asmg.values.user.uz"], torch.ones(2))  # type: ignore[arg-type]
    assert leaves["earlier.0.step"] == 2
    for leaf in leaves.values():
        assert leaf is None or isinstance(leaf, Tensor | np.ndarray | int | float | str)
        # Memory that can be written down as it is: an array of objects would be written as addresses.
        assert not isinstance(leaf, np.ndarray) or leaf.dtype != object


def test_tensors_are_passed_through_and_not_copied() -> None:
    original = state()
    assert restore(State, flatten(original)).pair[1] is original.pair[1]


def tampered(**changes: Any) -> dict[str, Leaf]:
    return flatten(state()) | {path.replace("__", "."): leaf for path, leaf in changes.items()}


@pytest.mark.parametrize("path", sorted(flatten(state())))
def test_a_missing_leaf_is_named(path: str) -> None:
    leaves = flatten(state())
    del leaves[path]
    with pytest.raises(ValueError, match=path.replace(".", r"\.")):
        restore(State, leaves)


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        (tampered(moments__extra=1), "moments.extra"),
        (tampered(number="3"), "number is '3', expected int"),
        (tampered(number=True), "number is True"),
        (tampered(flag=1), "flag is 1"),
        (tampered(pair__1=np.zeros(2)), "pair.1 is ndarray, expected Tensor"),
        (tampered(pair=3), "pair has 3 elements"),
        (tampered(earlier=3), "earlier.2 is missing"),
        (tampered(earlier=1), "State has no earlier.1"),
        (tampered(methods__asmg="Moments"), "methods.asmg is 'Moments', expected Weights or Nothing"),
        (tampered(methods__asmg__name="os.system"), "methods.asmg.name is 'os.system'"),
        (tampered(methods="iu"), "State has no methods.asmg"),
    ],
)
def test_leaves_of_another_state_are_refused(leaves: dict[str, Leaf], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        restore(State, leaves)


@dataclass(frozen=True)
class Anything:
    value: Any


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "value is a list"),
        (np.array(["a", 1], object), "int in it"),
        ({1: 2}, "the key 1"),
        ({"a,b": 2}, "the key 'a,b'"),
        ({"": 2}, "the key ''"),
        ({"a": {"b.c": 1}, "a.b": {"c": 2}}, "two leaves have the path value.a.b.c"),
        (np.int64(3), "value is a int64"),
    ],
)
def test_what_could_not_be_restored_is_refused_when_taken_apart(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flatten(Anything(value))


def test_only_dataclasses_are_states() -> None:
    with pytest.raises(ValueError, match="dict"):
        flatten({"a": 1})


def test_a_value_without_a_type_cannot_be_restored() -> None:
    with pytest.raises(ValueError, match="value is annotated"):
        restore(Anything, flatten(Anything(1)))

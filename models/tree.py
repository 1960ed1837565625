"""Trees: a state of frozen dataclasses as named leaves and back, so that a store needs no code for each state.

Nodes are dataclasses, `Mapping[str, X]`, `tuple[X, ...]`, `tuple[X, Y]`, `X | None` and unions of dataclasses; leaves
are tensors, numpy arrays, int, float, bool, str and None. A leaf's name is its path: "methods.asmg.weights.user".
Every node but the root also has a leaf of its own, so that an empty one comes back: a dataclass its class name, a
mapping its keys in their order, a tuple its length. An array of strings becomes two plain arrays, bytes and offsets.
Classes come from the annotations of the class that is restored, never from leaves: nothing is imported by name.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor

Leaf = Tensor | np.ndarray[Any, Any] | int | float | bool | str | None
State = TypeVar("State")

_STRINGS = "strings"


def flatten(state: Any) -> dict[str, Leaf]:
    """All leaves of a dataclass by their path (the same objects, not copies).

    Raises ValueError, naming the path, for a value that is neither node nor leaf and for paths that meet.
    """
    if not is_dataclass(state) or isinstance(state, type):
        raise ValueError(f"a state is a dataclass, not {type(state).__name__}")
    leaves: dict[str, Leaf] = {}
    for field in fields(state):
        for path, leaf in _leaves(field.name, getattr(state, field.name)):
            if path in leaves:
                raise ValueError(f"two leaves have the path {path}")
            leaves[path] = leaf
    return leaves


def restore(cls: type[State], leaves: Mapping[str, Leaf], kinds: Mapping[str, Any] | None = None) -> State:
    """The state of class `cls` whose leaves these are (the same objects, not copies).

    kinds: the annotation of what lies at a path, where `cls` does not know it and says Any.
    Raises ValueError, naming the path, when a leaf is missing, has another type, or belongs to no field.
    """
    reader = _Reader(leaves, kinds or {})
    state: State = reader.dataclass(cls, "")
    if left := sorted(leaves.keys() - reader.used):
        raise ValueError(f"{cls.__name__} has no {', '.join(left[:5])}")
    return state


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Leaf]]:
    if is_dataclass(value) and not isinstance(value, type):
        yield path, type(value).__name__
        for field in fields(value):
            yield from _leaves(f"{path}.{field.name}", getattr(value, field.name))
    elif isinstance(value, Mapping):
        yield path, ",".join(_key(path, key) for key in value)
        for key, element in value.items():
            yield from _leaves(f"{path}.{key}", element)
    elif isinstance(value, tuple):
        yield path, len(value)
        for index, element in enumerate(value):
            yield from _leaves(f"{path}.{index}", element)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        encoded = [_utf8(path, text) for text in value.tolist()]
        yield path, _STRINGS
        yield f"{path}.bytes", np.frombuffer(b"".join(encoded), np.uint8)
        yield f"{path}.offsets", np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    elif value is None or isinstance(value, Tensor | np.ndarray | int | float | str):
        yield path, value
    else:
        raise ValueError(f"{path} is a {type(value).__name__}, neither a node nor a leaf of a state")


def _key(path: str, key: Any) -> str:
    if not isinstance(key, str) or not key or "," in key:
        raise ValueError(f"{path} has the key {key!r}: keys are strings, not empty and without a comma")
    return key


def _utf8(path: str, text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"{path} is an array of objects with a {type(text).__name__} in it, not only strings")
    return text.encode()


class _Reader:
    """Puts values together by their annotations and notes which leaves it has used."""

    def __init__(self, leaves: Mapping[str, Leaf], kinds: Mapping[str, Any]) -> None:
        self._leaves = leaves
        self._kinds = kinds
        self.used: set[str] = set()

    def dataclass(self, cls: Any, prefix: str) -> Any:
        hints = get_type_hints(cls)
        return cls(**{field.name: self._value(hints[field.name], prefix + field.name) for field in fields(cls)})

    def _value(self, hint: Any, path: str) -> Any:
        hint = self._kinds.get(path, hint)
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Union or origin is types.UnionType:
            return self._one_of(inner, path)
        if is_dataclass(hint):
            return self._one_of((hint,), path)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            keys = self._leaf(str, path).split(",")
            return {key: self._value(inner[1], f"{path}.{key}") for key in keys if key}
        if origin is tuple:
            length = self._leaf(int, path)
            hints = [inner[0]] * length if inner[-1] is Ellipsis else list(inner)
            if len(hints) != length:
                raise ValueError(f"{path} has {length} elements, not {len(hints)}")
            return tuple(self._value(one, f"{path}.{index}") for index, one in enumerate(hints))
        if origin is np.ndarray:
            return self._array(path)
        if origin is Literal:
            return self._literal(inner, path)
        return self._leaf(hint, path)

    def _one_of(self, hints: tuple[Any, ...], path: str) -> Any:
        """A dataclass is known by its class name, None by itself; one more hint may take what is neither."""
        leaf = self._leaf(object, path)
        if leaf is None and type(None) in hints:
            return None
        classes = {hint.__name__: hint for hint in hints if is_dataclass(hint) and isinstance(hint, type)}
        if isinstance(leaf, str) and leaf in classes:
            return self.dataclass(classes[leaf], path + ".")
        others = [hint for hint in hints if hint is not type(None) and hint not in classes.values()]
        if len(others) != 1:
            raise ValueError(f"{path} is {_named(leaf)}, expected {' or '.join(classes)}")
        return self._value(others[0], path)

    def _array(self, path: str) -> np.ndarray[Any, Any]:
        leaf = self._leaf(object, path)
        if not (isinstance(leaf, str) and leaf == _STRINGS):
            return self._leaf(np.ndarray, path)  # type: ignore[no-any-return]
        data = self._leaf(np.ndarray, f"{path}.bytes").tobytes()
        offsets = self._leaf(np.ndarray, f"{path}.offsets").tolist()
        texts = np.empty(len(offsets) - 1, object)
        texts[:] = [data[low:high].decode() for low, high in pairwise(offsets)]
        return texts

    def _literal(self, allowed: tuple[Any, ...], path: str) -> Any:
        leaf = self._leaf(object, path)
        if not any(type(leaf) is type(one) and leaf == one for one in allowed):
            raise ValueError(f"{path} is {_named(leaf)}, expected one of {allowed}")
        return leaf

    def _leaf(self, kind: Any, path: str) -> Any:
        if path not in self._leaves:
            raise ValueError(f"{path} is missing")
        self.used.add(path)
        leaf = self._leaves[path]
        if kind is Any or not isinstance(kind, type):
            raise ValueError(f"{path} is annotated {kind}, from which no value can be restored")
        # To Python a bool is an int: a state that mixes them up is not the one that was saved.
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(leaf, accepted) or (isinstance(leaf, bool) and kind not in (bool, object)):
            raise ValueError(f"{path} is {_named(leaf)}, expected {kind.__name__}")
        return leaf


def _named(leaf: Leaf) -> str:
    return repr(leaf) if leaf is None or isinstance(leaf, int | float | str) else type(leaf).__name__

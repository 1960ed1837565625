"""Standing between the learner and an update method: to see what a call does to its arguments, or to change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from models.base_models.protocol import BaseModel
from models.laws.trial import digest
from models.parameters import Parameters
from models.samples import Samples
from models.training import Snapshot
from models.update_methods.iu import Iu
from models.update_methods.protocol import UpdateMethod

Call = Callable[[str, Mapping[str, Any]], Any]
"""Given the name of a method's call and its arguments by name, in their order; returns what the call is to return."""


@dataclass(frozen=True)
class Between:
    """An update method, by its name and window, all of whose calls are made by `call`."""

    method: str
    window: int
    call: Call

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> Any:
        """Its state."""
        return self.call("start", {"base": base, "snapshot": snapshot, "periods": periods, "seed": seed})

    def train(
        self,
        state: Any,
        base: BaseModel,
        window: Sequence[Parameters],
        targets: Sequence[Samples],
        seed: int,
        period: int,
    ) -> Any:
        """Its training."""
        said = {"state": state, "base": base, "window": window, "targets": targets, "seed": seed, "period": period}
        return self.call("train", said)

    def candidate(
        self, state: Any, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[Any, Parameters]:
        """Its candidate."""
        said = {"state": state, "base": base, "outgoing": outgoing, "window": window}
        after: tuple[Any, Parameters] = self.call("candidate", said)
        return after


def watched(method: UpdateMethod[Any], changed: Callable[[str, str], None]) -> Between:
    """The method; `changed(call, argument)` is told of every argument that a call has written to."""

    def call(name: str, said: Mapping[str, Any]) -> Any:
        before = {argument: digest(value) for argument, value in said.items()}
        result = getattr(method, name)(*said.values())
        for argument, value in said.items():
            if digest(value) != before[argument]:
                changed(name, argument)
        return result

    return Between(method.method, method.window, call)


def heard(method: UpdateMethod[Any], told: Callable[[str, Any], None]) -> Between:
    """The method; `told(call, answer)` is told what each call returns."""

    def call(name: str, said: Mapping[str, Any]) -> Any:
        answer = getattr(method, name)(*said.values())
        told(name, answer)
        return answer

    return Between(method.method, method.window, call)


def backwards(method: UpdateMethod[Any]) -> Between:
    """The method, with the names of every mapping that it is given in the opposite order."""
    return Between(method.method, method.window, lambda name, said: getattr(method, name)(*map(turned, said.values())))


def onlooker(window: int) -> Between:
    """Plain incremental update under another name, with a longer window."""
    return Between("onlooker", window, lambda name, said: getattr(Iu(), name)(*said.values()))


def turned(value: Any) -> Any:
    """The same value, with the names of every mapping in it, itself included, in the opposite order."""
    if isinstance(value, Mapping):
        return {name: turned(value[name]) for name in reversed(list(value))}
    if isinstance(value, list | tuple):
        return type(value)(map(turned, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: turned(getattr(value, field.name)) for field in fields(value)})
    return value

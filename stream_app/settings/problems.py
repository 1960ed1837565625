"""From a failed validation to one sentence: which setting, what was given and where, what would be right."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pydantic
from pydantic_core import ErrorDetails

from stream_app.broker.security import masked
from stream_app.errors import SettingsError

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = object()
_NAMED = {"method": "methods", "name": "base_model"}
"""What names a member of a section of the learning, and the section."""


@dataclass(frozen=True)
class Layer:
    """What one source says, and where that is, in words; `where` is asked with the path of a key."""

    where: Callable[[Sequence[str]], str]
    values: Mapping[str, Any]

    def has(self, path: Sequence[str]) -> bool:
        """Whether this source says something of the key at `path`."""
        return self.at(path) is not _MISSING

    def at(self, path: Sequence[str]) -> Any:
        """The value at a path of keys, or _MISSING."""
        value: Any = self.values
        for key in path:
            if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, Mapping) and key in value:
                value = value[key]
            else:
                return _MISSING
        return value


def settings_error(error: pydantic.ValidationError, kind: type[Any], layers: Sequence[Layer]) -> SettingsError:
    """The first problem as a SettingsError; the others are named. layers: the strongest first."""
    details = _relevant(error.errors(include_url=False))
    problems = [_problem(detail, kind) for detail in details]
    key, problem, remedy = problems[0]
    value, where = _given(key.split("."), layers)
    said = f"{problem} (given {where}: {value!r})" if where else problem
    others = sorted({other for other, _, _ in problems} - {key})
    return SettingsError(
        key, said, "; ".join([remedy] * bool(remedy) + [f"also wrong: {', '.join(others)}"] * bool(others))
    )


def _relevant(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Without the complaints of those members of a union that were not meant: their tag is another, or they are no
    settings but something of somebody's own, made already."""
    details = [detail for detail in details if detail["type"] != "is_instance_of"] or details
    tags = ("method", "name")
    others = [
        d["loc"][:-1] for d in details if d["type"] == "literal_error" and d["loc"][-1] in tags and len(d["loc"]) > 2
    ]
    kept = [d for d in details if not any(d["loc"][: len(other)] == other for other in others)]
    return kept or list(details)


def _problem(detail: ErrorDetails, kind: type[Any]) -> tuple[str, str, str]:
    """(dotted key, problem, remedy) of one complaint."""
    path = _path(detail["loc"])
    key = ".".join(path)
    if detail["type"] in _UNKNOWN:
        if owners := _owners(kind, path):
            return key, "does not go with the other settings of its section", owners
        return key, "there is no such setting", _nearest(kind, path)
    if detail["type"] == "missing":
        return key, "must be given", ""
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "union_tag_invalid":
        return f"{key}.by", "is none of the kinds", f"there are: {detail['ctx']['expected_tags']}"
    first, _, rest = message.partition(" ")
    if detail["type"] == "value_error" and first.rstrip(":").partition(".")[0] in known_names(kind, path):
        return f"{key}.{first.rstrip(':')}", rest, ""
    if detail["type"] == "literal_error" and (section := _NAMED.get(path[-1])):
        key = ".".join(path[: path.index(section) + 1])
        there = [*_tags(kind, section, path[-1]), 'your own as "package.module:Class"']
        if section == "methods":
            there.append("and auto, which chooses among them")
        return (
            key,
            f"there is no {section.removesuffix('s').replace('_', ' ')} {detail['input']!r}",
            f"there are: {', '.join(there)}",
        )
    return key, message[:1].lower() + message[1:], ""


def _owners(kind: type[Any], path: Sequence[str]) -> str:
    """Which kind of periods has which settings of its own, when `path` is one of those; else ""."""
    members = [_types(member) for member in _members(_types(kind).get(path[0]))]
    shared = set.intersection(*map(set, members)) if members else set()
    own = [(name, get_args(types_["by"])[0]) for types_ in members if "by" in types_ for name in set(types_) - shared]
    if len(path) != 2 or path[1] not in dict(own):
        return ""
    first, *others = sorted(own)
    said = [f'{first[0]} belongs to by="{first[1]}"', *(f'{name} to by="{by}"' for name, by in others)]
    return " and ".join(said)


def _nearest(kind: type[Any], path: Sequence[str]) -> str:
    """What an unknown name might have been meant to be, else all that there are."""
    known = known_names(kind, path[:-1])
    inner = [f"{name}.{below}" for name in known for below in known_names(kind, [*path[:-1], name])]
    near = get_close_matches(path[-1], [*known, *inner], n=2, cutoff=0.7)
    return f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"


def _path(location: Sequence[int | str]) -> list[str]:
    """The keys of a location as they are written in a file: without the names of union members."""
    steps = [step for step in location if not (isinstance(step, str) and step[:1].isupper())]
    if steps[0] == "periods" and len(steps) > 1:
        del steps[1]
    return [str(step) for step in steps]


def _given(path: list[str], layers: Sequence[Layer]) -> tuple[Any, str]:
    """The value at `path`, or nearest above it, and where it was given; "" when it was given nowhere."""
    for layer in layers:
        value = layer.at(path)
        if value is not _MISSING:
            return masked(value, path[-1]), layer.where(path)
    return None, ""


def known_names(kind: type[Any], path: Sequence[str]) -> list[str]:
    """The settings in the section at `path` of a settings class; of a union, those of all its members."""
    members: list[Any] = [kind]
    for step in path:
        if not step.isdecimal():  # a place in a list: its members are those of the list
            members = [inner for member in members for inner in _members(_types(member).get(step))]
    return sorted({name for member in members for name in _types(member)})


def _tags(kind: type[Any], section: str, tag: str) -> list[str]:
    """The names of all update methods, or base models: what their field `tag` may be."""
    found = [
        _types(member)
        for learning in _members(_types(kind).get("learning"))
        for member in _members(_types(learning).get(section))
    ]
    return [name for types_ in found for name in get_args(types_.get(tag))]


def _types(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in fields(kind)}
    return {}


def _members(kind: Any) -> list[Any]:
    """The types that a union, a tuple or an annotation is made of."""
    if get_origin(kind) in (Union, types.UnionType, tuple, Annotated):
        return [member for argument in get_args(kind) for member in _members(argument)]
    return [] if kind is None or get_origin(kind) is Literal else [kind]

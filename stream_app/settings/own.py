"""What settings name "package.module:Class": a base model or an update method of somebody's own.

    [learning]
    base_model = "mypackage.net:Net"                    # or {name = "mypackage.net:Net", settings = {hidden = 16}}
    methods = ["iu", "mypackage.ewc:Ewc"]               # or {method = "mypackage.ewc:Ewc", strength = 0.1}

The class is imported here, by whoever was given the settings, and by nobody else. What it takes is judged by its own
constructor: its names, and its annotations as those of our settings.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

import pydantic
from pydantic.errors import PydanticUserError

from models.base_models.module import Module
from models.base_models.module_building import ARGUMENTS
from models.own import load, said
from models.update_methods import AnyUpdateMethod
from stream_app.versions.manifest import problem

_SHORT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


def with_own(learning: Any) -> Any:
    """The section `learning` with base model and methods of somebody's own made; everything else is judged elsewhere.

    Raises ValueError, beginning with the setting, when one cannot be had.
    """
    if not isinstance(learning, Mapping):
        return learning
    made = dict(learning)
    if "base_model" in learning:
        made["base_model"] = _base_model(learning["base_model"])
    if isinstance(learning.get("methods"), list | tuple):
        made["methods"] = [_method(one) for one in learning["methods"]]
    return made


def is_own(name: Any) -> bool:
    """Whether a name is that of somebody's own class."""
    return isinstance(name, str) and ":" in name


def _base_model(given: Any) -> Any:
    if isinstance(given, str):
        given = {"name": given}
    if not isinstance(given, Mapping) or not is_own(given.get("name")):
        return given
    name, settings = given["name"], given.get("settings", {})
    try:
        if others := sorted(given.keys() - {"name", "settings"}):
            raise ValueError(f"{name} takes its settings as settings = {{...}}, not {others[0]}")
        if not isinstance(settings, Mapping):
            raise ValueError(f"the settings of {name} are a table, not {settings!r}")
        return Module(name, _arguments(name, load(name), settings, ARGUMENTS.values()))
    except ValueError as error:
        raise ValueError(f"base_model: {error}") from error


def _method(given: Any) -> Any:
    if not isinstance(given, Mapping) or not is_own(given.get("method")):
        return given
    name = given["method"]
    try:
        kind = load(name)
        if not is_dataclass(kind):
            raise ValueError(f"{name} is no dataclass: its fields are its settings")
        own = {key: value for key, value in given.items() if key != "method"}
        method = kind(**_arguments(name, kind, own, ("method",)))
        _check_method(name, method)
        return method
    except (ValueError, TypeError) as error:
        raise ValueError(f"methods: {error}") from error


def _check_method(name: str, method: Any) -> None:
    """Raises ValueError unless the learner can call it and keep its state."""
    missing = [call for call in ("method", "window", "start", "train", "candidate") if not hasattr(method, call)]
    if missing:
        raise ValueError(f"{name} has no {', '.join(missing)}; see models/update_methods/protocol.py")
    if not isinstance(method.method, str) or not _SHORT_NAME.fullmatch(method.method):
        raise ValueError(f"{name} calls itself {method.method!r}; a name has small letters, digits and dashes")
    if method.method in (*built_in_methods(), "auto"):
        raise ValueError(f"{name} calls itself {method.method!r}, which is the name of a built-in one")
    try:
        kept = get_type_hints(method.start).get("return")
    except Exception as error:  # an annotation may name anything
        raise ValueError(f"{name}: the annotations of start cannot be read ({said(error)})") from error
    if not is_dataclass(kept):
        raise ValueError(f"{name}: start must be annotated to return the dataclass that its state is")


def built_in_methods() -> list[str]:
    """The names of the methods that come with us."""
    return [name for kind in get_args(AnyUpdateMethod) for name in get_args(get_type_hints(kind)["method"])]


def _arguments(name: str, kind: type, given: Mapping[str, Any], without: Collection[str]) -> dict[str, Any]:
    """`given` as the constructor of `kind` annotates it: a number that was written as text becomes one.

    without: arguments that are no settings. Raises ValueError, naming the argument.
    """
    try:
        known = dict(inspect.signature(kind, eval_str=True).parameters)
    except Exception as error:  # an annotation may name anything
        raise ValueError(f"{name}: the annotations of its constructor cannot be read ({said(error)})") from error
    known = {key: one for key, one in known.items() if key not in without and one.kind is not one.VAR_KEYWORD}
    for key in given:
        if key not in known:
            near = get_close_matches(key, known, n=1) or [f"it has: {', '.join(known) or 'none'}"]
            raise ValueError(
                f"{name} has no setting {key!r}; {near[0] if ':' in near[0] else f'did you mean {near[0]}?'}"
            )
    made = {key: _as_annotated(name, known[key], value) for key, value in given.items()}
    if missing := [key for key, one in known.items() if one.default is one.empty and key not in given]:
        raise ValueError(f"{name} must be given {', '.join(missing)}")
    try:
        json.dumps(made)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the settings of {name} must be numbers, texts, or lists and tables of them") from error
    return made


def _as_annotated(name: str, parameter: inspect.Parameter, value: Any) -> Any:
    if parameter.annotation is parameter.empty:
        return value
    try:
        return pydantic.TypeAdapter(parameter.annotation).validate_python(value)
    except pydantic.ValidationError as error:
        raise ValueError(f"{name}: {parameter.name} is {value!r}: {problem(error)}") from error
    except PydanticUserError:  # a type that means something to its owner only
        return value

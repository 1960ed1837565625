"""Code from outside, named in settings: "package.module:Class" for a base model or an update method of somebody's own.

Such a name runs what it names, so it comes from settings or a command line only, never from what is stored or sent.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

_LONGEST = 300


def load(name: str) -> type:
    """The class that "package.module:Class" names.

    Raises ValueError, saying what is wrong with the name, when there is no such module, its import fails, it has no
    such class, or that is no class.
    """
    found = named(name)
    if not isinstance(found, type):
        raise ValueError(f"{name} is no class, but of type {type(found).__name__}")
    return found


def named(name: str) -> Any:
    """What "package.module:attribute" names; raises ValueError as `load` does."""
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError(f"{name!r} names nothing: write package.module:name")
    found = _imported(module)
    if not hasattr(found, attribute):
        close = get_close_matches(attribute, [other for other in dir(found) if not other.startswith("_")], 1)
        raise ValueError(f"{module} has no {attribute}" + (f"; did you mean {close[0]}?" if close else ""))
    return getattr(found, attribute)


def said(error: BaseException) -> str:
    """What somebody else's exception says, on one line that can be written anywhere."""
    text = f"{type(error).__name__}: {error}"
    return " ".join(text.encode(errors="replace").decode().split())[:_LONGEST]


def _imported(module: str) -> ModuleType:
    try:
        return import_module(module)
    except (Exception, SystemExit) as error:  # whatever somebody's module does when it is imported
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        hint = ": is it installed here, or its folder on PYTHONPATH?" if missing else ""
        raise ValueError(f"{module} cannot be imported ({said(error)}){hint}") from error

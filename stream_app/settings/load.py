"""Reading settings, with one clear answer to whatever is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from stream_app.settings.problems import Layer, settings_error
from stream_app.settings.serving import ServingSettings
from stream_app.settings.sources import file_of, from_environment, from_file, variable

Kind = TypeVar("Kind", bound=ServingSettings)


def load(kind: type[Kind], flags: Mapping[str, Any] | None = None) -> Kind:
    """Settings from file, environment and `flags` (nested; `config` names the file).

    Raises SettingsError for the first thing that is wrong: which setting, what was given, where, what would be right.
    """
    given = kind.unjudged(dict(flags or {}))
    try:
        return kind(**given)
    except ValidationError as error:
        raise settings_error(error, kind, layers(given)) from error


def layers(flags: Mapping[str, Any]) -> list[Layer]:
    """What is written down, and where; the strongest first."""
    environment = from_environment()
    file = file_of({**environment, **flags})
    return [
        Layer(lambda path: "on the command line", flags),
        Layer(lambda path: f"as {variable(path)}", environment),
        Layer(lambda path: f"in {file}", from_file(file)),
    ]

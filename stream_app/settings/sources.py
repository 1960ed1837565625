"""Where settings come from: a TOML file, the environment, flags; each a nested mapping, merged by pydantic-settings.

| source | example | beaten by |
|---|---|---|
| preset | `preset = "paper"` | everything that is written down |
| file | `[kafka]` `bootstrap = "broker:9092"` | environment, flags |
| environment | `ASMG_KAFKA__BOOTSTRAP=broker:9092` | flags |
| flags | `--set kafka.bootstrap=broker:9092` | nothing |
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from stream_app.broker.security import is_secret
from stream_app.errors import SettingsError

PREFIX = "ASMG_"
DELIMITER = "__"
DEFAULT_FILE = Path("asmg.toml")
NO_SETTINGS = ("ASMG_RECORDINGS", "ASMG_REFERENCE", "ASMG_KAFKA_CACHE")
"""Variables with our prefix that are read by the Makefile's targets, not by the program."""

Values = dict[str, Any]


class LayerSource(PydanticBaseSettingsSource):
    """One layer for pydantic-settings: a function from what the stronger layers say to what this one says."""

    def __init__(self, settings: type[BaseSettings], read: Callable[[Mapping[str, Any]], Values]) -> None:
        super().__init__(settings)
        self._read = read

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Asked for by pydantic-settings' interface; layers are read as a whole."""
        value = self()
        return value.get(field_name), field_name, False

    def __call__(self) -> Values:
        """The whole layer."""
        return self._read(self.current_state)


def from_environment(environment: Mapping[str, str] = os.environ) -> Values:
    """The variables with our prefix, nested by the double underscore. Raises SettingsError for one that nests twice."""
    values: Values = {}
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name not in NO_SETTINGS:
            _put(values, name[len(PREFIX) :].lower().split(DELIMITER), environment[name], name)
    return values


def variable(path: Sequence[str]) -> str:
    """The environment variable that holds the setting at `path`."""
    return PREFIX + DELIMITER.join(path).upper()


def from_pairs(pairs: Iterable[str]) -> Values:
    """The values of `--set section.key=value` flags. Raises SettingsError for one without key or value, or a secret."""
    values: Values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not all(key.split(".")):
            raise SettingsError(pair, "cannot be read", "write --set section.key=value")
        _put(values, key.split("."), text, f"--set {key}")
    for section, given in values.items():
        for key in given if isinstance(given, dict) else ():
            if is_secret(key):
                raise SettingsError(
                    f"{section}.{key}",
                    "a secret on the command line could be read by every process of this machine",
                    f"use {section}.{key}_file, or {variable([section, key])} in the environment",
                )
    return values


def file_of(stronger: Mapping[str, Any]) -> Path | None:
    """The settings file: the one that flags or environment name, else `asmg.toml` here if there is one."""
    named = stronger.get("config")
    if named is not None:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def from_file(path: Path | None) -> Values:
    """What a TOML file says. Raises SettingsError naming file, and line where its syntax is wrong."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(path), f"no valid TOML: {error}", "mend that line") from error
    except UnicodeDecodeError as error:
        raise SettingsError(str(path), f"not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(
            "config", f"{path} cannot be read: {error.strerror}", "name an existing TOML file"
        ) from error


def _put(values: Values, path: list[str], text: str, source: str) -> None:
    """Structured values are written as in TOML (`["iu", "asmg"]`); other text is left to the type of the setting."""
    *sections, last = path
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise SettingsError(source, f"{section} is given as a value and as a section", "keep one of the two")
    try:
        structured = text[:1] in ("[", "{") and not is_secret(last)
        values[last] = tomllib.loads(f"value = {text}")["value"] if structured else text
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(source, f"{text!r} is no valid TOML value: {error}") from error

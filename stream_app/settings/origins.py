"""Where each setting comes from: flag, environment variable, file, preset or default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stream_app.broker.security import masked
from stream_app.settings.load import layers
from stream_app.settings.problems import Layer
from stream_app.settings.serving import ServingSettings


@dataclass(frozen=True)
class Origin:
    """One setting: its dotted key, the value that holds (a secret is masked), and who says so."""

    key: str
    value: Any
    where: str


def origins(settings: ServingSettings, flags: Mapping[str, Any]) -> list[Origin]:
    """Of every setting, in the order of the settings class. flags: what `settings` was loaded with."""
    written = [*layers(flags), *_preset(getattr(settings, "preset", None))]
    return [
        Origin(".".join(path), masked(value, path[-1]), _where(path, written))
        for path, value in _leaves(settings.model_dump(mode="json"), [])
    ]


def _preset(name: str | None) -> list[Layer]:
    """Below all else; a serving process has no presets, and no packages to read them with."""
    if name is None:
        return []
    from stream_app.settings.complete import preset_values

    return [Layer(lambda path: f"preset {name}", preset_values(name))]


def _where(path: list[str], written: list[Layer]) -> str:
    return next((layer.where(path) for layer in written if layer.has(path)), "default")


def _leaves(value: Any, path: list[str]) -> Iterator[tuple[list[str], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, [*path, key])
    else:
        yield path, value

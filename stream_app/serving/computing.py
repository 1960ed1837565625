"""What a serving process computes with: numpy for the base models that we know, or something of its own.

`ModelSubscriber(settings, serving=...)` takes any `Serving`; `stream_app.module_serving` is one with torch, for a base
model that is somebody's own `nn.Module`. What computes is chosen by whoever serves, never by what a version names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from stream_app.errors import SchemaMismatch
from stream_app.serving.networks import NETWORKS
from stream_app.serving.networks.network import Network
from stream_app.versions.assembler import Judge
from stream_app.versions.fitness import check_tensors
from stream_app.versions.manifest import Content
from stream_app.versions.model_version import ModelVersion

BASE_MODEL_SETTINGS = "base_model_settings"
"""In `learning` of a manifest, of a base model that is somebody's own."""


def settings_text(settings: Mapping[str, Any]) -> str:
    """Settings of a base model as a manifest states them: JSON, keys in order, no spaces, ASCII."""
    return json.dumps(dict(settings), sort_keys=True, separators=(",", ":"))


class Serving(Judge, Protocol):
    """Judges versions by their manifest, and makes those that are whole ready to score."""

    def network(self, version: ModelVersion) -> Network:
        """The arithmetic of a version that has passed `check`, all of whose values are finite.

        Raises SchemaMismatch.
        """


class NumpyServing:
    """Serves the base models of `NETWORKS`, with numpy alone."""

    def check(self, content: Content) -> None:
        """Raises SchemaMismatch unless the tensors are exactly those of the base model that the content names."""
        model = content.learning.get("base_model")
        if model not in NETWORKS:
            raise SchemaMismatch(
                content.version,
                f"base model {model!r} is not one of {', '.join(NETWORKS)}, which numpy serves; to serve an nn.Module "
                "of your own give ModelSubscriber serving=stream_app.module_serving.ModuleServing(...)",
            )
        check_tensors(content, NETWORKS[str(model)].check)

    def network(self, version: ModelVersion) -> Network:
        """By the name of its base model."""
        return NETWORKS[str(version.content.learning["base_model"])](version.tensors)

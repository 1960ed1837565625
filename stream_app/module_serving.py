"""Serving a base model that is somebody's own `nn.Module`, with torch, by its own `score` where it has one.

    from stream_app.module_serving import ModuleServing

    serving = ModuleServing("mypackage.net:Net", {"hidden": 16})
    with ModelSubscriber(settings, serving=serving) as subscriber:
        subscriber.wait(timeout=60).score(user, items, history)

A module's `score(batch)` gives probabilities [B]; without one they are sigmoid(forward(batch)). Which class that
is, whoever serves says, with the settings that it was trained with; a version of any other is refused. Ids become rows
as for every version: of a history the 30 most recent count, an unknown id takes the cold row. Needs torch, `models` and
the module's own package beside what a subscriber needs; a module's forward may run in several threads at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.base_models.module import Module
from models.item_categories import ItemCategories
from models.parameters import CATEGORY, ITEM, USER
from models.samples import Batch, shifted
from stream_app.errors import SchemaMismatch, SettingsError
from stream_app.serving.computing import BASE_MODEL_SETTINGS, settings_text
from stream_app.serving.networks.network import Floats, Lookups, Network
from stream_app.versions.fitness import check_tensors, taken
from stream_app.versions.manifest import Content
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import TensorSpec

_COLUMNS = {USER: "users", ITEM: "items", CATEGORY: "categories"}
_PARAMETERS = "parameters."


class ModuleServing:
    """Serves the versions of one module."""

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None) -> None:
        """name, settings: as the trainer's `learning.base_model` has them.

        Raises SettingsError when the module cannot be had.
        """
        try:
            self._base = Module(name, settings or {})
        except ValueError as error:
            raise SettingsError("base_model", str(error)) from error

    def check(self, content: Content) -> None:
        """Raises SchemaMismatch unless the content names this module with these settings, and lists its tensors."""
        own = {"base_model": self._base.name, BASE_MODEL_SETTINGS: settings_text(self._base.settings)}
        for key, wanted in own.items():
            if (there := content.learning.get(key)) != wanted:
                raise SchemaMismatch(content.version, f"{key} is {there!r}, this process serves {wanted!r}")
        check_tensors(content, self._check_parameters)

    def network(self, version: ModelVersion) -> Network:
        """The module with the version's parameters in place."""
        return _ModuleNetwork(self._base, version)

    def _check_parameters(self, specs: dict[str, TensorSpec], rows: Mapping[str, int]) -> None:
        for name, shape in self._base.shapes.items():
            column = _COLUMNS.get(self._base.tables.get(name, ""))
            wanted = shape if column is None else (rows.get(column, 0), *shape[1:])
            found = taken(specs, f"{_PARAMETERS}{name}", "F32", len(shape)).shape
            if found != wanted:
                raise ValueError(f"{name} is {list(found)}, in {self._base.name} it is {list(wanted)}")


class _ModuleNetwork(Network):
    """No gradient is kept, and nothing is changed."""

    def __init__(self, base: Module, version: ModelVersion) -> None:
        parameters = {
            name.removeprefix(_PARAMETERS): torch.from_numpy(array.copy())
            for name, array in version.tensors.items()
            if name.startswith(_PARAMETERS)
        }
        self._module = base.with_parameters(parameters)
        self._categories = _item_categories(version) if CATEGORY in base.tables.values() else None
        own = getattr(type(self._module), "score", None)
        self._score: Callable[[Batch], Tensor] | None = own and partial(own, self._module)

    def logits(self, lookups: Lookups) -> Floats:
        """What `forward` gives."""
        return self._answered(self._module, lookups)

    def probabilities(self, lookups: Lookups) -> Floats:
        """What `score` gives, or the sigmoid of `forward`."""
        return super().probabilities(lookups) if self._score is None else self._answered(self._score, lookups)

    def _answered(self, compute: Callable[[Batch], Tensor], lookups: Lookups) -> Floats:
        if not len(lookups.items):  # no module has to know what nobody asks in training
            return np.empty(0, np.float32)
        with torch.inference_mode():
            numbers: Floats = compute(self._batch(lookups)).float().numpy()
        return numbers

    def _batch(self, lookups: Lookups) -> Batch:
        """As in training; one user of all pairs is repeated, history and all."""
        pairs = len(lookups.items)
        users, history, offsets = lookups.users, lookups.history, lookups.offsets
        if len(users) != pairs:
            users, offsets = np.repeat(users, pairs), np.arange(pairs + 1) * len(history)
            history = np.tile(history, pairs)
        rows = [torch.from_numpy(column) for column in (users, lookups.items, history, offsets)]
        categories = () if self._categories is None else (*self._categories.of(rows[1]), *self._categories.of(rows[2]))
        return shifted(Batch(rows[0], rows[1], torch.zeros(pairs), rows[2], rows[3], *categories))


def _item_categories(version: ModelVersion) -> ItemCategories:
    """What the version says of its items; row 0, which stands for every other item, has no categories."""
    rows, offsets = version.tensors["item_categories.rows"], version.tensors["item_categories.offsets"]
    return ItemCategories(rows, np.concatenate([[0], offsets]), np.zeros(len(offsets), np.int64))

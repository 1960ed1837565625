"""A module that looks up categories: learned from a stream that has them, served by ids alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from replay_helpers import LEARNING, SETTINGS, stream

from models.base_models.module import Module
from models.interactions import category_column
from models.samples import Batch
from models.update_methods.iu import Iu
from stream_app.events.record import RecordSettings
from stream_app.module_serving import ModuleServing
from stream_app.replay import replay
from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import DirectorySink
from stream_app.versions.assembler import assembled
from stream_app.versions.model_version import ModelVersion

BASE = Module("own_modules:WithCategories")
NAMES = ("comic", "news", "song")


def categories_of(item: int) -> list[str]:
    return [name for n, name in enumerate(NAMES) if item >> n & 1]


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    rows = stream()
    rows = replace(rows, categories=category_column([categories_of(item) for item in rows.items.tolist()]))
    learning = replace(LEARNING, base_model=BASE, methods=(Iu(),), passes=1, initialisations=1)
    settings = replace(SETTINGS, learning=learning, records=RecordSettings(categories="categories"))
    out: Path = tmp_path_factory.mktemp("categories")
    list(replay([rows], settings, out))
    serving = ModuleServing("own_modules:WithCategories")
    return list(assembled(DirectorySink(out / "versions").read(), "default", serving))[-1]


def test_served_by_ids_it_looks_up_the_categories_that_the_version_says(version: ModelVersion) -> None:
    user_ids, item_ids = (version.tensors[f"vocabulary.{kind}"].tolist() for kind in ("users", "items"))
    raw, bounds = (version.tensors[f"vocabulary.categories.{part}"] for part in ("bytes", "offsets"))
    known = [raw.tobytes()[a:b].decode() for a, b in pairwise(bounds.tolist())]
    assert sorted(known) == sorted(NAMES)
    users, items, histories = [1, 2, 0], [4, 0, 9], [[3, 0, 7], [], [5]]

    def categories(rows: list[int]) -> list[list[int]]:
        return [[known.index(name) + 1 for name in categories_of(item_ids[row - 1])] if row else [] for row in rows]

    def column(lists: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        flat = torch.tensor([row for rows in lists for row in rows], dtype=torch.int64)
        return flat, torch.tensor([0, *np.cumsum([len(rows) for rows in lists]).tolist()])

    past = column(histories)
    own, of_past = column(categories(items)), column(categories(past[0].tolist()))
    batch = Batch(torch.tensor(users), torch.tensor(items), torch.zeros(3), *past, *own, *of_past)
    parameters = {
        name.removeprefix("parameters."): torch.from_numpy(array.copy())
        for name, array in version.tensors.items()
        if name.startswith("parameters.")
    }
    assert parameters["category.weight"].any()
    model = ServingModel(version, ModuleServing("own_modules:WithCategories").network(version))
    ids = [[user_ids[row - 1] if row else -1 for row in users], [item_ids[row - 1] if row else -1 for row in items]]
    past_ids = [[item_ids[row - 1] if row else -1 for row in history] for history in histories]
    np.testing.assert_array_equal(model.logits(*ids, past_ids), BASE.logits(parameters, batch).numpy())
    one = model.score(ids[0][0], ids[1], past_ids[0])
    np.testing.assert_allclose(one[0], model.score_pairs(*ids, past_ids)[0], rtol=1e-6)
    assert model.score(ids[0][0], []).shape == (0,)  # which this module could not answer

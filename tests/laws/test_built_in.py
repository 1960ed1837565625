"""Every built-in update method and base model keeps every law; a new one is tested unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args

import pytest
import torch

from models.base_models import AnyBaseModel
from models.base_models.category_embedding_mlp import CategoryEmbeddingMlp
from models.base_models.module import Module
from models.laws import base_models, runs, update_methods
from models.laws.elsewhere import learned_elsewhere
from models.laws.law import Law
from models.laws.trial import Trial, difference
from models.learning import prepare_process
from models.update_methods import AnyUpdateMethod
from stream_app.cli.check import through_a_store

METHODS = get_args(AnyUpdateMethod)
TALKATIVE = Module("own_modules:OnlyTables")
"""A module from outside, which prints; what other processes say must not be mixed with that."""
MODELS = (*get_args(AnyBaseModel), CategoryEmbeddingMlp)


Trials = Callable[[Any], Trial]


@pytest.fixture(scope="module")
def trial() -> Iterator[Trials]:
    """Of a class: one for all of its laws, which learn its run once; states go through a real store."""
    with through_a_store() as kept:
        yield cache(lambda kind: Trial(method=kind(), kept=kept) if kind in METHODS else Trial(kind(), kept=kept))


def here(laws: tuple[Law[Trial], ...]) -> list[Law[Trial]]:
    """Those of one process; the other process takes all built-ins at once, since it loads torch first."""
    return [law for law in laws if law is not runs.same_bytes_in_another_process and _can_be_checked(law)]


def _can_be_checked(law: Law[Trial]) -> bool:
    return torch.cuda.is_available() or not law.gpu


@pytest.fixture(autouse=True)
def _learner_process() -> None:
    prepare_process(Trial().settings)


@pytest.mark.parametrize("law", here(update_methods.LAWS), ids=lambda law: law.name)
@pytest.mark.parametrize("method", METHODS, ids=lambda kind: kind.__name__)
def test_a_built_in_method_keeps_the_law(method: Any, law: Law[Trial], trial: Trials) -> None:
    law(trial(method))


@pytest.mark.parametrize("law", here(base_models.LAWS), ids=lambda law: law.name)
@pytest.mark.parametrize("model", MODELS, ids=lambda kind: kind.__name__)
def test_a_built_in_model_keeps_the_law(model: Any, law: Law[Trial], trial: Trials) -> None:
    law(trial(model))


def test_every_built_in_gives_the_same_bytes_in_another_process(trial: Trials) -> None:
    trials = [*(trial(kind) for kind in (*METHODS, *MODELS)), Trial(TALKATIVE)]
    for one, there in zip(trials, learned_elsewhere(trials), strict=True):
        assert difference(one.told, there) == "", (one.base, one.method)


def test_every_built_in_method_takes_a_model_of_tables_alone() -> None:
    base_models.every_built_in_method_takes_it(Trial(TALKATIVE))


def test_every_law_has_a_name_of_its_own_and_a_promise() -> None:
    for laws in (update_methods.LAWS, base_models.LAWS):
        assert len({law.name for law in laws}) == len(laws)
        assert all(law.promise.endswith(".") for law in laws)

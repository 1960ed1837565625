"""Pretraining: which initialisation, and which pass over the first periods, the stream of updates starts from.

Rules (algorithms.md, "Base model"): several passes over all pretraining periods but the last, from several
initialisations; kept is the pass, *with its optimizer state*, and the initialisation with the best AUC on the last
one, which is then trained on once by the caller. Nothing is reported on a period that chose something.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from models.evaluation import evaluate
from models.learning import LearningSettings
from models.parameters import Sizes
from models.randomness import rng
from models.samples import Samples
from models.training import Snapshot, train


@dataclass(frozen=True)
class Pretraining:
    """How far pretraining has come; enough to go on after a crash as if there had been none.

    initialisation, passes: of the run in hand, `passes` done; best_auc: NaN until a pass could be judged.
    """

    initialisation: int
    passes: int
    current: Snapshot
    best: Snapshot
    best_auc: float
    best_initialisation: int
    best_pass: int


Checkpoint = Callable[[Pretraining], None]
"""Called after every pass; may store what it is given, must not change it."""


def pretrain(
    training: Samples,
    validation: Samples,
    sizes: Sizes,
    settings: LearningSettings,
    saved: Pretraining | None = None,
    checkpoint: Checkpoint | None = None,
) -> Pretraining:
    """Run what is left of pretraining after `saved` and return its end; `.best` is the snapshot to go on from.

    training: the samples of all periods but the last; validation: those of the last; sizes: of the tables before
    the last period.
    """
    state = saved or _start(sizes, 0, settings, training, None)
    while True:
        while state.passes < settings.passes:
            state = _one_pass(state, training, validation, settings)
            if checkpoint is not None:
                checkpoint(state)
        if state.initialisation + 1 == settings.initialisations:
            return state
        state = _start(sizes, state.initialisation + 1, settings, training, state)


def _start(
    sizes: Sizes,
    initialisation: int,
    settings: LearningSettings,
    training: Samples,
    before: Pretraining | None,
) -> Pretraining:
    fresh = Snapshot.start(settings.base_model, sizes, settings.seed, initialisation)
    fresh = fresh.to(training.labels.device)
    if before is not None:
        return replace(before, initialisation=initialisation, passes=0, current=fresh)
    return Pretraining(initialisation, 0, fresh, fresh, math.nan, initialisation, 0)


def _one_pass(state: Pretraining, training: Samples, validation: Samples, settings: LearningSettings) -> Pretraining:
    number = state.passes + 1
    draw = rng(settings.seed, 0, f"pretraining/{state.initialisation}/{number}")
    order = torch.from_numpy(draw.permutation(len(training)).astype(np.int64)).to(training.labels.device)
    current = train(state.current, settings.base_model, training.select(order), settings.learning_rate, settings.batch)
    state = replace(state, passes=number, current=current)
    auc = evaluate(settings.base_model, current.parameters, validation).auc
    first = state.initialisation == 0 and number == 1
    if first or auc > state.best_auc or (math.isnan(state.best_auc) and not math.isnan(auc)):
        return replace(state, best=current, best_auc=auc, best_initialisation=state.initialisation, best_pass=number)
    return state

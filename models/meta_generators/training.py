"""Training the meta generator on what the closed period has added (RecSys 2021, arXiv 2111.04282: "multi").

Of a window Θ_{t-k+1} ... Θ_t, output i is scored on the period after snapshot i, so that the newest is scored on the
period that has just closed; the losses are weighted 1, 2, ..., k over their sum. There are as many Adam steps as the
newest target has minibatches; step s takes the s-th minibatch of each target, and shorter targets start over.
Gradients are written by hand: losses -> generated tables (the base model) -> weights of the GRUs (gru.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.adam import dense_step
from models.base_models.protocol import BaseModel
from models.meta_generators.generation import HiddenState, grown_state
from models.meta_generators.gradient import window_gradient
from models.meta_generators.lookups import LocalWindow
from models.parameters import Parameters
from models.samples import Samples


@dataclass(frozen=True)
class Recipe:
    """How a generator is built and trained. hidden: H; residual: gru.py; learning_rate: of Adam;
    batch: samples per target and step.

    average: None restarts Adam every period and serves the last weights (the paper); n carries Adam on and serves the
    running average of the weights over about n steps: w̄ += (w - w̄) / min(n, step).
    """

    hidden: int
    residual: bool
    learning_rate: float
    batch: int
    average: int | None


@dataclass(frozen=True, eq=False)
class Generator:
    """A meta generator between two periods.

    weights, served: ω [P] (sheets.py) where training stands and as it generates; moments: Adam's, [2, P];
    step: Adam steps so far, over all periods; hidden: the state at the start of the window (generation.py).
    """

    weights: Tensor
    served: Tensor
    moments: Tensor
    step: int
    hidden: HiddenState


def train_generator(
    generator: Generator,
    recipe: Recipe,
    window: Sequence[Parameters],
    targets: Sequence[Samples],
    base: BaseModel,
) -> Generator:
    """Train on `targets`, of which target i is the period after snapshot i of `window`; both oldest first.

    All snapshots have equal numbers of rows. A period without samples is left out. Raises ValueError when the numbers
    of snapshots and targets differ.
    """
    if len(window) != len(targets):
        raise ValueError(f"{len(window)} snapshots cannot be scored on {len(targets)} periods")
    state = grown_state(generator.hidden, window[-1], base.tables)
    local = LocalWindow.of(window, base.tables, state, targets)
    minibatches = [list(target.batches(recipe.batch)) for target in local.targets]
    weights, served = generator.weights.clone(), generator.served.clone()
    restart = recipe.average is None
    moments = torch.zeros_like(generator.moments) if restart else generator.moments.clone()
    adam_steps = weights.new_full((), 0 if restart else generator.step, dtype=torch.float32)
    for s in range(len(minibatches[-1])):
        batches = [target[s % len(target)] if target else None for target in minibatches]
        gradient = window_gradient(weights, recipe.hidden, recipe.residual, local.sequences, window[-1], batches, base)
        step = generator.step + s + 1
        dense_step([weights], [gradient], [moments[0]], [moments[1]], [adam_steps], recipe.learning_rate)
        served.lerp_(weights, 1.0 if recipe.average is None else 1.0 / min(recipe.average, step))
    return Generator(weights, served, moments, generator.step + len(minibatches[-1]), state)

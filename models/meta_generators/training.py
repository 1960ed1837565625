"""Training the meta generator on what the closed period has added (RecSys 2021, arXiv 2111.04282: "multi").

Of a window Θ_{t-k+1} ... Θ_t, output i is scored on the period after snapshot i, so that the newest is scored on the
period that has just closed; the losses are weighted 1, 2, ..., k over their sum. There are as many Adam steps as the
newest target has minibatches; step s takes the s-th minibatch of each target, and shorter targets start over.
Gradients are written by hand: losses -> generated tables (the base model) -> weights of the GRUs (gru.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from models.base_models.protocol import BaseModel
from models.meta_generators.descent import Weights, descend
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
    running average of the weights over about n steps (descent.py).
    """

    hidden: int
    residual: bool
    learning_rate: float
    batch: int
    average: int | None


@dataclass(frozen=True, eq=False)
class Generator(Weights):
    """A GRU generator between two periods: its weights as sheets.py lays them out, and
    hidden: the state at the start of the window (generation.py)."""

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

    def gradient(weights: Tensor, s: int) -> Tensor:
        batches = [target[s % len(target)] if target else None for target in minibatches]
        return window_gradient(weights, recipe.hidden, recipe.residual, local.sequences, window[-1], batches, base)

    trained = descend(generator, gradient, len(minibatches[-1]), recipe.learning_rate, recipe.average)
    return replace(trained, hidden=state)

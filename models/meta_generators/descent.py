"""How the weights of a meta generator are trained: one vector, Adam step by step, and a running average beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from models.adam import dense_step


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights ω of a generator between two periods.

    weights, served: [P], where training stands and as it generates; moments: Adam's, [2, P]; step: Adam steps so far,
    over all periods.
    """

    weights: Tensor
    served: Tensor
    moments: Tensor
    step: int


Generator = TypeVar("Generator", bound=Weights)


def descend(
    generator: Generator,
    gradient: Callable[[Tensor, int], Tensor],
    steps: int,
    learning_rate: float,
    average: int | None,
) -> Generator:
    """The generator after some more steps of Adam; gradient: [P], of the weights at step s = 0, 1, ... of these.

    average: None restarts Adam here and serves the last weights; n carries Adam on and serves the running average of
    the weights over about n steps: w̄ += (w - w̄) / min(n, step).
    """
    weights, served = generator.weights.clone(), generator.served.clone()
    restart = average is None
    moments = torch.zeros_like(generator.moments) if restart else generator.moments.clone()
    adam_steps = weights.new_full((), 0 if restart else generator.step, dtype=torch.float32)
    for s in range(steps):
        dense_step([weights], [gradient(weights, s)], [moments[0]], [moments[1]], [adam_steps], learning_rate)
        served.lerp_(weights, 1.0 if average is None else 1.0 / min(average, generator.step + s + 1))
    return replace(generator, weights=weights, served=served, moments=moments, step=generator.step + steps)

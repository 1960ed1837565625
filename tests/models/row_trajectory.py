"""A small base model that wanders while users and items are born, and what a row method makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import plain_generator as plain
import torch
from torch import Tensor

from models import tree
from models.base_models.embedding_mlp import EmbeddingMlp
from models.parameters import Parameters, sizes_of
from models.samples import Samples
from models.training import Snapshot
from models.update_methods.protocol import UpdateMethod

MODEL = EmbeddingMlp()
PRETRAINED, PERIODS = 3, 6


def snapshots() -> list[Parameters]:
    """Float32 snapshots of a small base model that wanders; each has a user and an item more than the one before."""
    wide = plain.window_of(PERIODS, users=12 + PERIODS, items=15 + PERIODS)
    rows = [{"user": 12 + t, "item": 15 + t} for t in range(1, PERIODS + 1)]
    return [
        {name: tensor[: born.get(name, len(tensor))].float() for name, tensor in theta.items()}
        for theta, born in zip(wide, rows, strict=True)
    ]


def closed() -> list[Samples]:
    """Each with ids that are new to it."""
    sizes = (9, 13, 4, 11, 8, 12)
    return [plain.samples_of(n, users=12 + t, items=15 + t, seed=n) for t, n in enumerate(sizes, 1)]


def grown(before: Parameters, after: Parameters) -> Parameters:
    """As many rows as `after`; what is born starts from some values."""
    rows = {name: torch.cat([before[name], 0.5 * after[name][len(before[name]) :]]) for name in MODEL.tables}
    return {**before, **rows}


def run(
    method: UpdateMethod[Any], thetas: Sequence[Parameters], periods: Sequence[Samples]
) -> list[tuple[Any, Parameters]]:
    """(State, candidate) after every period from the last of pretraining on, called as models/learner.py does."""
    first = thetas[PRETRAINED - 1]
    snapshot = replace(Snapshot.start(MODEL, sizes_of(first, MODEL.tables), 0, 0), parameters=first)
    state = method.start(MODEL, snapshot, periods[:PRETRAINED], 0)
    results = [method.candidate(state, MODEL, None, [first])]
    for t in range(PRETRAINED, len(periods)):
        before = grown(thetas[t - 1], thetas[t])
        state = method.train(results[-1][0], MODEL, [before], [periods[t]], 0, t + 1)
        results.append(method.candidate(state, MODEL, before, [thetas[t]]))
    return results


def leaves(state: Any) -> dict[str, object]:
    """A state that can be compared."""
    return {p: v.tolist() if isinstance(v, Tensor) else v for p, v in tree.flatten(state).items()}

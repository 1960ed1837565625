"""ASMG-GRU: a GRU over the last snapshots of the base model generates the one that serves.

Peng, Pan, Zhang, Zeng, RecSys 2021 (arXiv 2111.04282). `asmg` is the paper's "multi" with its hidden state continued
from window to window. `asmg-averaged` is ours, and has another name so that nobody takes it for the paper: it begins as
plain incremental update (residual), keeps Adam's state from period to period, and serves the running average of the
GRU's weights, which on streams with few minibatches a period are too noisy to serve as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from models.base_models.protocol import BaseModel
from models.meta_generators.generation import generate, grown_state, zero_state
from models.meta_generators.sheets import initial_weights
from models.meta_generators.training import Generator, Recipe, train_generator
from models.parameters import Parameters
from models.randomness import rng
from models.samples import Samples
from models.training import Snapshot


@dataclass(frozen=True)
class GruMethod(ABC):
    """What both methods share. window: k, snapshots in a sequence; hidden: H, size of the GRU's state;
    learning_rate: of Adam; batch: samples per target and step. Raises ValueError for settings that cannot work."""

    method: str
    window: int = 3
    hidden: int = 4
    learning_rate: float = 1e-2
    batch: int = 256

    def __post_init__(self) -> None:
        for name in ("window", "hidden", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1, got {self.learning_rate}")

    @property
    @abstractmethod
    def recipe(self) -> Recipe:
        """How the generator is trained."""

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> Generator:
        """An untrained generator, drawn from the stream "generator/<method>" of period 0."""
        draw = rng(seed, 0, f"generator/{self.method}")
        weights = initial_weights(snapshot.parameters, base.tables, self.hidden, self.recipe.residual, draw)
        moments = torch.zeros(2, len(weights), device=weights.device)
        return Generator(weights, weights, moments, 0, zero_state(snapshot.parameters, base.tables, self.hidden))

    def train(
        self,
        state: Generator,
        base: BaseModel,
        window: Sequence[Parameters],
        targets: Sequence[Samples],
        seed: int,
        period: int,
    ) -> Generator:
        """Train the generator on the closed period and those before it; nothing is drawn, samples are in order."""
        return train_generator(state, self.recipe, window[-self.window :], targets[-self.window :], base)

    def candidate(
        self, state: Generator, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[Generator, Parameters]:
        """Θ* from the newest snapshots; the newest itself until the generator was trained, so that nothing random
        is ever served."""
        if state.step == 0:
            return replace(state, hidden=grown_state(state.hidden, window[-1], base.tables)), window[-1]
        snapshots = [*([] if outgoing is None else [outgoing]), *window][-(self.window + 1) :]
        left = snapshots.pop(0) if len(snapshots) > self.window else None
        recipe = self.recipe
        hidden, candidate = generate(state.served, state.hidden, left, snapshots, base.tables, recipe.residual)
        return replace(state, hidden=hidden), candidate


@dataclass(frozen=True)
class Asmg(GruMethod):
    """The paper's method: plain output, Adam starts afresh in every period, the last weights serve."""

    method: Literal["asmg"] = "asmg"

    @property
    def recipe(self) -> Recipe:
        """As the paper has it."""
        return Recipe(self.hidden, False, self.learning_rate, self.batch, average=None)


@dataclass(frozen=True)
class AsmgAveraged(GruMethod):
    """Residual output, Adam carries on. average: steps that the running average of the weights reaches back."""

    method: Literal["asmg-averaged"] = "asmg-averaged"
    average: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average < 1:
            raise ValueError(f"average must be at least 1, got {self.average}")

    @property
    def recipe(self) -> Recipe:
        """Residual and averaged."""
        return Recipe(self.hidden, True, self.learning_rate, self.batch, self.average)

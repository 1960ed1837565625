"""Incremental update (`iu`): the newest base model serves. Every other method has to be better than this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from models.base_models.protocol import BaseModel
from models.parameters import Parameters
from models.samples import Samples
from models.training import Snapshot


@dataclass(frozen=True)
class NoState:
    """Nothing to remember."""


@dataclass(frozen=True)
class Iu:
    """Θ_t serves until D_{t+1} closes."""

    method: Literal["iu"] = "iu"
    window: ClassVar[int] = 1

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> NoState:
        """There is no state."""
        return NoState()

    def train(
        self,
        state: NoState,
        base: BaseModel,
        window: Sequence[Parameters],
        targets: Sequence[Samples],
        seed: int,
        period: int,
    ) -> NoState:
        """Nothing is learned besides the base model."""
        return state

    def candidate(
        self, state: NoState, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[NoState, Parameters]:
        """The newest snapshot."""
        return state, window[-1]

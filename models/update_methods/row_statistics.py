"""Row statistics (`row-statistics`): every row moved by what the closed periods say about it, on top of Θ_t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from models.base_models.protocol import BaseModel
from models.meta_generators.row_statistics import RowGenerator, first_generator, generate, train_row_generator
from models.meta_generators.statistics import Statistics
from models.parameters import Parameters, sizes_of
from models.samples import Samples
from models.training import Snapshot


@dataclass(frozen=True)
class RowStatistics:
    """learning_rate: of Adam, which carries on from period to period; batch: samples per step; average: steps that the
    running average of the weights reaches back. Raises ValueError for settings that cannot work."""

    method: Literal["row-statistics"] = "row-statistics"
    learning_rate: float = 1e-2
    batch: int = 256
    average: int = 60
    window: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("batch", "average"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate must be between 0 and 1, got {self.learning_rate}")

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> RowGenerator:
        """An untrained generator, and the statistics of all pretraining periods; nothing is drawn."""
        parameters = snapshot.parameters
        sizes = sizes_of(parameters, base.tables)
        statistics = Statistics.start(base.tables.values(), next(iter(parameters.values())).device)
        for samples in periods:
            statistics = statistics.after(samples, sizes)
        return first_generator(parameters, base.tables, statistics)

    def train(
        self,
        state: RowGenerator,
        base: BaseModel,
        window: Sequence[Parameters],
        targets: Sequence[Samples],
        seed: int,
        period: int,
    ) -> RowGenerator:
        """Train on the closed period with the statistics before it; then it is one of the periods they speak of."""
        newest, closed = window[-1], targets[-1]
        trained = train_row_generator(state, newest, closed, base, self.learning_rate, self.batch, self.average)
        sizes = sizes_of(newest, base.tables)
        return replace(trained, statistics=state.statistics.after(closed, sizes))

    def candidate(
        self, state: RowGenerator, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[RowGenerator, Parameters]:
        """Θ* from the newest snapshot; equal to it until the generator was trained, for its weights are zeros."""
        return state, generate(state.served, state.statistics, window[-1], base.tables)

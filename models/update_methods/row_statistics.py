"""Row statistics (`row-statistics`): every row moved by what the closed periods say about it, on top of Θ_t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from models.base_models.protocol import BaseModel
from models.meta_generators.row_statistics import RowGenerator, first_weights, generate, train_row_generator
from models.meta_generators.statistics import Statistics
from models.parameters import Parameters, sizes_of
from models.samples import Samples
from models.training import Snapshot
from models.update_methods.row_method import RowMethod


@dataclass(frozen=True)
class RowStatistics(RowMethod):
    """The method; row_method.py says what can be set."""

    method: Literal["row-statistics"] = "row-statistics"

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> RowGenerator:
        """An untrained generator, and the statistics of all pretraining periods; nothing is drawn."""
        parameters = snapshot.parameters
        statistics = Statistics.over(periods, parameters, base.tables)
        untrained = first_weights(parameters, base.tables, statistics.features)
        return RowGenerator(**vars(untrained), statistics=statistics)

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
        sizes = sizes_of(newest, base.tables)
        features = state.statistics.grown(sizes).features
        trained = train_row_generator(
            state, features, newest, closed, base, self.learning_rate, self.batch, self.average
        )
        return replace(trained, statistics=state.statistics.after(closed, sizes))

    def candidate(
        self, state: RowGenerator, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[RowGenerator, Parameters]:
        """Θ* from the newest snapshot; equal to it until the generator was trained, for its weights are zeros."""
        return state, generate(state.served, state.statistics.features, window[-1], base.tables)

"""Row statistics and audience (`row-audience`): items are moved by whom they pleased as well, on top of Θ_t."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from models.base_models.protocol import BaseModel
from models.meta_generators.audience import Audience
from models.meta_generators.descent import Weights
from models.meta_generators.row_statistics import Features, first_weights, generate, train_row_generator
from models.meta_generators.statistics import Statistics
from models.parameters import ITEM, Parameters, sizes_of
from models.samples import Samples
from models.training import Snapshot
from models.update_methods.row_method import RowMethod


@dataclass(frozen=True, eq=False)
class AudienceGenerator(Weights):
    """A generator between two periods, with statistics and audiences of all periods so far."""

    statistics: Statistics
    audience: Audience


@dataclass(frozen=True)
class RowAudience(RowMethod):
    """The method; row_method.py says what can be set."""

    method: Literal["row-audience"] = "row-audience"

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> AudienceGenerator:
        """An untrained generator, with statistics and audiences of all pretraining periods; nothing is drawn."""
        parameters, tables = snapshot.parameters, base.tables
        statistics = Statistics.over(periods, parameters, tables)
        audience = Audience.over(periods, parameters, tables)
        untrained = first_weights(parameters, tables, features_of(statistics, audience))
        return AudienceGenerator(**vars(untrained), statistics=statistics, audience=audience)

    def train(
        self,
        state: AudienceGenerator,
        base: BaseModel,
        window: Sequence[Parameters],
        targets: Sequence[Samples],
        seed: int,
        period: int,
    ) -> AudienceGenerator:
        """Train on the closed period with what was known before it; then it is one of the periods known."""
        newest, closed, tables = window[-1], targets[-1], base.tables
        statistics, audience = state.statistics.grown(sizes_of(newest, tables)), state.audience.grown(newest, tables)
        features = features_of(statistics, audience)
        trained = train_row_generator(
            state, features, newest, closed, base, self.learning_rate, self.batch, self.average
        )
        return replace(
            trained,
            statistics=statistics.after(closed, sizes_of(newest, tables)),
            audience=audience.after(closed, newest, tables),
        )

    def candidate(
        self, state: AudienceGenerator, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[AudienceGenerator, Parameters]:
        """Θ* from the newest snapshot; equal to it until the generator was trained, for its weights are zeros."""
        features = features_of(state.statistics, state.audience)
        return state, generate(state.served, features, window[-1], base.tables)


def features_of(statistics: Statistics, audience: Audience) -> Features:
    """φ of any row [n, 6], and beside it the audience of an item [n, 6 + D]."""

    def features(vocabulary: str, rows: Tensor | slice) -> Tensor:
        known = statistics.features(vocabulary, rows)
        return torch.cat([known, audience.features(rows)], dim=1) if vocabulary == ITEM else known

    return features

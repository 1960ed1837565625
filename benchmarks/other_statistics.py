"""Row statistics with something taken away: update methods that exist to ask where the gain of the real one comes from.

`shuffled`: every row has the statistics of another row; `newness`: nothing is known of a row but whether it was met;
`delayed`: the statistics are one period older than they could be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.base_models.protocol import BaseModel
from models.meta_generators.row_statistics import RowGenerator
from models.meta_generators.statistics import Statistics
from models.parameters import Parameters, sizes_of
from models.randomness import rng
from models.samples import Samples
from models.training import Snapshot
from models.update_methods.row_statistics import RowStatistics


@dataclass(frozen=True)
class Viewed(RowStatistics, ABC):
    """Trains on, and generates from, a view of the statistics; keeps the true ones."""

    @abstractmethod
    def view(self, statistics: Statistics) -> Statistics:
        """What the generator is shown."""

    def train(self, state, base, window, targets, seed, period):
        """As the real one."""
        sizes = sizes_of(window[-1], base.tables)
        shown = replace(state, statistics=self.view(state.statistics.grown(sizes)))
        trained = super().train(shown, base, window, targets, seed, period)
        return replace(trained, statistics=state.statistics.after(targets[-1], sizes))

    def candidate(self, state, base, outgoing, window):
        """As the real one."""
        shown = replace(state, statistics=self.view(state.statistics))
        return state, super().candidate(shown, base, outgoing, window)[1]


@dataclass(frozen=True)
class Shuffled(Viewed):
    """A new permutation of all rows but the cold one in every period."""

    method: str = "shuffled"

    def view(self, statistics: Statistics) -> Statistics:
        """Rows and the periods that they stand at move together."""
        rows, stands = {}, {}
        for name, known in statistics.rows.items():
            draw = rng(0, statistics.periods, f"shuffled/{name}")
            order = torch.from_numpy(draw.permutation(len(known) - 1) + 1)
            order = torch.cat([order.new_zeros(1), order])
            rows[name], stands[name] = known[order], statistics.stands[name][order]
        return replace(statistics, rows=rows, stands=stands)


class NewnessAlone(Statistics):
    """φ = [1, 0, 0, 1{n=0}, 0, 0]."""

    def features(self, vocabulary: str, rows: Tensor | slice) -> Tensor:
        """Two of the six."""
        return super().features(vocabulary, rows) * torch.tensor([1.0, 0, 0, 1, 0, 0])


@dataclass(frozen=True)
class Newness(Viewed):
    """Rows that were met are all alike."""

    method: str = "newness"

    def view(self, statistics: Statistics) -> Statistics:
        """The same numbers, fewer features."""
        return NewnessAlone(**vars(statistics))


@dataclass(frozen=True, eq=False)
class DelayedGenerator(RowGenerator):
    """newest: the statistics that the real method would use by now."""

    newest: Statistics


@dataclass(frozen=True)
class Delayed(RowStatistics):
    """Trained on D_{t+1} with φ_{t-1}, generating from φ_t."""

    method: str = "delayed"

    def start(self, base: BaseModel, snapshot: Snapshot, periods: Sequence[Samples], seed: int) -> DelayedGenerator:
        """All but the last pretraining period."""
        state = super().start(base, snapshot, periods[:-1], seed)
        newest = state.statistics.after(periods[-1], sizes_of(snapshot.parameters, base.tables))
        return DelayedGenerator(**vars(state), newest=newest)

    def train(self, state, base, window, targets, seed, period):
        """One period behind."""
        trained = super().train(state, base, window, targets, seed, period)
        newest = state.newest.after(targets[-1], sizes_of(window[-1], base.tables))
        return replace(trained, statistics=state.newest, newest=newest)

    def candidate(
        self, state: DelayedGenerator, base: BaseModel, outgoing: Parameters | None, window: Sequence[Parameters]
    ) -> tuple[DelayedGenerator, Parameters]:
        """From statistics that have to grow to the size of the tables."""
        older = replace(state, statistics=state.statistics.grown(sizes_of(window[-1], base.tables)))
        return state, super().candidate(older, base, outgoing, window)[1]

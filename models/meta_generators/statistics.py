"""What the closed periods say about every row of a vocabulary: four numbers, and the features φ that are made of them.

Rules (algorithms.md, "Row-statistics generator"):
1. A sample meets a row when the row is its user, its target item or a category of that; drawn negatives count as well,
   histories do not. Over all samples so far: P of them positive, n in all; l positives of the last period alone, and
   e <- e / 2 + l once a period.
2. With q the positive share of all samples and m = 4 samples of prior belief in it,
   φ = [1, ln(1+n)/3, logit((P+mq)/(n+m)) - logit(q), 1{n=0}, ln(1+l)/2, ln(1+e)/2], so that a row born later has
   (1, 0, 0, 1, 0, 0).
3. l and e are stored as of the period that last met their row (`stands`) and brought forward when they are needed: a
   row that is at rest changes nothing that is stored. Halving is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.parameters import Parameters, Sizes, Tables, sizes_of
from models.samples import Samples

FEATURES = 6
PRIOR = 4.0


@dataclass(frozen=True, eq=False)
class Statistics:
    """The statistics after `periods` periods with `samples` samples in all, `positives` of them positive.

    rows: per vocabulary float32 [rows, 4], P, n, l, e of each row, l and e as of its period in `stands`, int32 [rows];
    that is 0 for a row that was never met. Row 0, the cold row, never is.
    """

    periods: int
    samples: int
    positives: int
    rows: Mapping[str, Tensor]
    stands: Mapping[str, Tensor]

    @staticmethod
    def start(vocabularies: Iterable[str], device: torch.device | str = "cpu") -> Statistics:
        """Before the first period: nothing but the cold rows."""
        names = tuple(dict.fromkeys(vocabularies))
        return Statistics(
            0,
            0,
            0,
            {name: torch.zeros(1, 4, device=device) for name in names},
            {name: torch.zeros(1, dtype=torch.int32, device=device) for name in names},
        )

    @staticmethod
    def over(periods: Iterable[Samples], parameters: Parameters, tables: Tables) -> Statistics:
        """After these periods; parameters: with a row for every id of theirs, and the device to be on."""
        statistics = Statistics.start(tables.values(), next(iter(parameters.values())).device)
        for samples in periods:
            statistics = statistics.after(samples, sizes_of(parameters, tables))
        return statistics

    def grown(self, sizes: Sizes) -> Statistics:
        """With as many rows as the tables have by now."""
        rows = {name: _padded(known, sizes[name]) for name, known in self.rows.items()}
        return replace(self, rows=rows, stands={name: _padded(at, sizes[name]) for name, at in self.stands.items()})

    def after(self, samples: Samples, sizes: Sizes) -> Statistics:
        """The statistics once one more period has closed; a period without samples leaves l = 0 and half of e."""
        grown = self.grown(sizes)
        period = self.periods + 1
        rows, stands = {}, {}
        for name, known in grown.rows.items():
            subjects, labels = samples.subjects(name)
            met, counts = _counts(subjects, labels > 0.5, len(known))
            before = known[met]
            recent = before[:, 3] * self._halvings(grown.stands[name][met], period) + counts[:, 0]
            now = [before[:, 0] + counts[:, 0], before[:, 1] + counts[:, 1], counts[:, 0], recent]
            rows[name] = known.index_copy(0, met, torch.stack(now, dim=1))
            stands[name] = grown.stands[name].index_fill(0, met, period)
        positives = int((samples.labels > 0.5).sum())
        return Statistics(period, self.samples + len(samples), self.positives + positives, rows, stands)

    def features(self, vocabulary: str, rows: Tensor | slice) -> Tensor:
        """φ: float32 [n, 6], of some rows: their numbers, int64 [n], or a slice of all."""
        stands = self.stands[vocabulary][rows]
        positives, met, last, recent = self.rows[vocabulary][rows].unbind(1)
        last = last * (stands == self.periods)
        recent = recent * self._halvings(stands, self.periods)
        columns = (
            torch.ones_like(met),
            met.log1p() / 3,
            self._lift(positives, met - positives),
            (met == 0).to(met),
            last.log1p() / 2,
            recent.log1p() / 2,
        )
        return torch.stack(columns, dim=1)

    def _lift(self, positives: Tensor, negatives: Tensor) -> Tensor:
        """logit((P+mq)/(n+m)) - logit(q), written so that it exists for q = 0 and q = 1 as well."""
        share = self.positives / max(self.samples, 1)
        tiny = torch.finfo(torch.float32).tiny  # where q is 0 so is every P, and 0 / tiny is the 0 that it should be
        expected = max(PRIOR * share, tiny), max(PRIOR * (1 - share), tiny)
        return (positives / expected[0]).log1p() - (negatives / expected[1]).log1p()

    @staticmethod
    def _halvings(stands: Tensor, period: int) -> Tensor:
        return torch.exp2(stands.to(torch.float32) - period)


def _counts(subjects: Tensor, positive: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """The rows that samples meet, int64 [R] ascending, and float32 [R, 2]: positives and samples of each."""
    samples = torch.bincount(subjects, minlength=rows)
    met = samples.nonzero()[:, 0]
    positives = torch.bincount(subjects[positive], minlength=rows)
    return met, torch.stack([positives[met], samples[met]], dim=1).to(torch.float32)


def _padded(tensor: Tensor, rows: int) -> Tensor:
    if len(tensor) == rows:
        return tensor
    return torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])

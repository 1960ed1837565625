"""Whom an item pleased: for each item the mean of what the base model knew of the users that liked it (ours).

Rules:
1. A sample shows its user as v = [the user's row of every user table ; the mean of the history's rows of every item
   table], zeros for an empty history: what the base model is told about the user, and nothing of the target.
2. S = Σ v over the positive samples of all periods so far in which the item is the target, c = how many these are; the
   audience of an item is S / (c + 1). So an item nobody has liked, and one born later, has zeros, and few likes say
   little. Where c would pass 1,000, both are scaled down to that: a stream that never ends cannot freeze an audience.
3. A period enters with the snapshot before it, those of pretraining with the snapshot that pretraining ended with. What
   is in S is not looked up again, however the rows of these users move later: no sample has to be kept.

Likes of a few users tell at once who else may like an item, where its own row takes periods to learn it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.parameters import ITEM, USER, Parameters, Tables, sizes_of
from models.samples import Samples

PRIOR = 1.0
"""Likes by nobody in particular that every item has."""

MEMORY = 1000.0
"""Likes that an audience reaches back."""


@dataclass(frozen=True, eq=False)
class Audience:
    """S, float32 [item rows, D], and c, float32 [item rows]. Row 0, the cold row, has zeros."""

    sums: Tensor
    likes: Tensor

    @staticmethod
    def start(parameters: Parameters, tables: Tables) -> Audience:
        """Before the first period: nothing but the cold row."""
        width = sum(parameters[table].shape[1] for table, of in tables.items() if of in (USER, ITEM))
        like = next(iter(parameters.values()))
        return Audience(like.new_zeros(1, width), like.new_zeros(1))

    @staticmethod
    def over(periods: Iterable[Samples], parameters: Parameters, tables: Tables) -> Audience:
        """After these periods; parameters: what all of them enter with, and a row for every id of theirs."""
        audience = Audience.start(parameters, tables)
        for samples in periods:
            audience = audience.after(samples, parameters, tables)
        return audience

    def grown(self, parameters: Parameters, tables: Tables) -> Audience:
        """With as many rows as the item tables have by now; without item tables nothing grows."""
        missing = sizes_of(parameters, tables).get(ITEM, 1) - len(self.likes)
        if not missing:
            return self
        sums = torch.cat([self.sums, self.sums.new_zeros(missing, self.sums.shape[1])])
        return Audience(sums, torch.cat([self.likes, self.likes.new_zeros(missing)]))

    def after(self, samples: Samples, parameters: Parameters, tables: Tables) -> Audience:
        """The audiences once one more period has closed; parameters: Θ before it, with a row for every id of it.

        A base model without item tables has no row that an audience could move: nothing is counted.
        """
        if ITEM not in tables.values():
            return self
        grown = self.grown(parameters, tables)
        liked = samples.select((samples.labels > 0.5).nonzero()[:, 0])
        sums = grown.sums.index_add(0, liked.items, shown(liked, parameters, tables))
        likes = grown.likes.index_add(0, liked.items, torch.ones_like(liked.labels))
        kept = MEMORY / likes.clamp(min=MEMORY)
        return Audience(sums * kept[:, None], likes * kept)

    def features(self, rows: Tensor | slice) -> Tensor:
        """S / (c + 1): float32 [n, D], of some items: their rows, int64 [n], or a slice of all."""
        return self.sums[rows] / (self.likes[rows] + PRIOR)[:, None]


def shown(samples: Samples, parameters: Parameters, tables: Tables) -> Tensor:
    """v of each sample: [n, D], tables in the order of the base model."""
    lengths = samples.offsets.diff()
    owners = torch.repeat_interleave(lengths, output_size=len(samples.history))
    shares = lengths.clamp(min=1).to(torch.float32).reciprocal()[:, None]
    columns = []
    for table, vocabulary in tables.items():
        rows = parameters[table]
        if vocabulary == USER:
            columns.append(rows.index_select(0, samples.users))
        elif vocabulary == ITEM:
            total = rows.new_zeros(len(samples), rows.shape[1])
            columns.append(total.index_add_(0, owners, rows.index_select(0, samples.history)) * shares)
    return torch.cat(columns, dim=1)

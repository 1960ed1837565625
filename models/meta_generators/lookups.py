"""Which rows the samples of a window look up, and for how long each of them has to run through the GRU.

A generator step can only be influenced by the rows that its minibatches look up (users, targets, histories); and a row
that only older targets look up needs only the first steps of the window, since output i is scored on target i. Both
savings are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.meta_generators.generation import HiddenState
from models.meta_generators.sheets import MLP, to_sheets
from models.parameters import Parameters, Tables, sizes_of
from models.samples import Samples, renumbered


@dataclass(frozen=True, eq=False)
class LocalWindow:
    """A window cut down to the rows that its targets look up, numbered from 0.

    sequences: per sheet [columns x (k + H), rows], of each column the k inputs, oldest first, then the start state:
    columns first as the GRU wants them, so that a step gathers its rows and is ready to go.
    targets: their samples in these row numbers.
    """

    sequences: dict[str, Tensor]
    targets: tuple[Samples, ...]

    @staticmethod
    def of(window: Sequence[Parameters], tables: Tables, state: HiddenState, targets: Sequence[Samples]) -> LocalWindow:
        """Cut down `window`, whose snapshots and hidden `state` have equal numbers of rows."""
        sheets = [to_sheets(snapshot, tables) for snapshot in window]
        found = {
            vocabulary: needed(size, [[rows for target in targets for rows in target.rows(vocabulary)]])
            for vocabulary, size in sizes_of(window[0], tables).items()
        }
        sequences = {}
        for name in sheets[0]:
            rows = slice(None) if name == MLP else found[tables[name]].rows
            inputs = torch.stack([sheet[name][rows] for sheet in sheets], dim=-1)
            sequences[name] = torch.cat([inputs, state[name][rows]], dim=-1).flatten(1).t().contiguous()
        places = {vocabulary: one.places for vocabulary, one in found.items()}
        return LocalWindow(sequences, tuple(renumbered(target, places) for target in targets))


@dataclass(frozen=True, eq=False)
class Needed:
    """The rows that one step generates, those that need most GRU steps first.

    rows: [R], int64; widths: R_1 >= R_2 >= ..., how many of them need the first step, the second, ...;
    places: [all rows], int64, where a row stands in `rows` (undefined for the others).
    """

    rows: Tensor
    widths: list[int]
    places: Tensor


def needed(total: int, lookups: Sequence[Sequence[Tensor]]) -> Needed:
    """What to generate of a table of `total` rows, where output i is asked for `lookups[i]` (not all of them empty)."""
    device = next(rows.device for columns in lookups for rows in columns)
    latest = torch.full((total,), -1, dtype=torch.int8, device=device)
    for i, columns in enumerate(lookups):
        for rows in columns:
            latest.index_fill_(0, rows, i)
    found = (latest >= 0).nonzero()[:, 0]
    steps = latest.index_select(0, found)
    rows = found.index_select(0, steps.argsort(descending=True, stable=True))
    counts = torch.bincount(steps, minlength=len(lookups)).tolist()
    places = torch.empty(total, dtype=torch.int64, device=device)
    places[rows] = torch.arange(len(rows), device=device)
    return Needed(rows, [sum(counts[i:]) for i in range(len(counts))], places)

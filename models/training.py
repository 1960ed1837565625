"""Training a base model on one period: one pass, every row's Adam exact, cost independent of the vocabulary.

Rules:
1. A snapshot is a value: training makes a new one and leaves the old as it was.
2. The rows that the period looks up are numbered anew, gathered once, trained as small dense tensors, and written back.
3. The other rows are moved by what is left of their momentum (adam.py), so that parameters always stand at `step`.
4. Row 0 of a table, the cold row, is never trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.adam import Moments, dense_step, drift
from models.base_models.protocol import BaseModel
from models.local_rows import local_rows
from models.parameters import Parameters, Sizes, Tables, sizes_of
from models.samples import Samples


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A base model Θ_t with its optimizer state.

    limits, initialisation: what rows born later are drawn with, beside the seed (`BaseModel.grown`).
    """

    parameters: Parameters
    moments: Moments
    limits: Mapping[str, float]
    initialisation: int

    @staticmethod
    def start(base: BaseModel, sizes: Sizes, seed: int, initialisation: int) -> Snapshot:
        """A fresh model, on the CPU."""
        parameters = base.init(sizes, seed, initialisation)
        return Snapshot(parameters, Moments.start(parameters, base.tables), base.limits(sizes), initialisation)

    def grown(self, base: BaseModel, sizes: Sizes, seed: int) -> Snapshot:
        """The snapshot with longer tables. Raises ValueError when a table would shrink."""
        parameters = self.grow_parameters(base, self.parameters, sizes, seed)
        return replace(self, parameters=parameters, moments=self.moments.grown(parameters))

    def grow_parameters(self, base: BaseModel, older: Parameters, sizes: Sizes, seed: int) -> Parameters:
        """An older Θ of the same trajectory with longer tables; rows born after it have their initial values."""
        return base.grown(older, self.limits, sizes, seed, self.initialisation)

    def to(self, device: torch.device | str) -> Snapshot:
        """The same snapshot on another device."""
        moments = self.moments
        first, second, stands = (_to(part, device) for part in (moments.first, moments.second, moments.stands))
        return replace(
            self, parameters=_to(self.parameters, device), moments=Moments(moments.step, first, second, stands)
        )


def train(snapshot: Snapshot, base: BaseModel, samples: Samples, learning_rate: float, batch: int) -> Snapshot:
    """The snapshot after one pass over `samples` in their order, `batch` of them a step, by Adam.

    Equal to dense Adam over the whole tables but for rounding. Raises ValueError when a sample looks up a cold row, or
    a row that the tables do not have.
    """
    if not len(samples):
        return snapshot
    rows, local = _renumbered(snapshot.parameters, base.tables, samples)
    parameters, first, second = _gathered(snapshot, rows)
    names = list(parameters)
    steps = [tensor.new_full((), snapshot.moments.step, dtype=torch.float32) for tensor in parameters.values()]
    for minibatch in local.batches(batch):
        _, gradients = base.gradients(parameters, minibatch)
        dense_step(
            list(parameters.values()),
            [gradients[name] for name in names],
            list(first.values()),
            list(second.values()),
            steps,
            learning_rate,
        )
    end = snapshot.moments.step + -(-len(samples) // batch)
    return _written_back(snapshot, rows, parameters, Moments(end, first, second, {}), learning_rate)


def _renumbered(parameters: Parameters, tables: Tables, samples: Samples) -> tuple[dict[str, Tensor], Samples]:
    """For each table the rows that the samples look up, int64 ascending, and the samples with places in these."""
    for table, vocabulary in tables.items():
        _check(table, samples.rows(vocabulary), len(parameters[table]))
    found, local = local_rows(samples, sizes_of(parameters, tables))
    return {table: found[vocabulary] for table, vocabulary in tables.items()}, local


def _check(table: str, columns: Sequence[Tensor], size: int) -> None:
    """Raises ValueError for the cold row and for rows that the table does not have."""
    borders = [int(border) for rows in columns if len(rows) for border in rows.aminmax()] or [1]
    if min(borders) < 1 or max(borders) >= max(size, 2):
        raise ValueError(
            f"samples to train on look up rows {min(borders)} to {max(borders)} of table {table!r}, "
            f"which has 1 to {size - 1}"
        )


def _gathered(
    snapshot: Snapshot, rows: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Parameters, m and v of the rows in training, as of the snapshot's step, and of all dense tensors; all copies."""
    moments = snapshot.moments
    parameters, first, second = {}, {}, {}
    for name, tensor in snapshot.parameters.items():
        if name in rows:
            parameters[name] = tensor[rows[name]]
            first[name], second[name] = moments.at_step(name, rows[name])
        else:
            parameters[name] = tensor.clone()
            first[name], second[name] = moments.first[name].clone(), moments.second[name].clone()
    return parameters, first, second


def _written_back(
    before: Snapshot, rows: Mapping[str, Tensor], parameters: Parameters, trained: Moments, learning_rate: float
) -> Snapshot:
    """The snapshot after training, from the trained rows and dense tensors."""
    moments = before.moments
    tensors, first, second = dict(parameters), dict(trained.first), dict(trained.second)
    stands = {}
    for name in rows:
        stands[name] = moments.stands[name].index_fill(0, rows[name], trained.step)
        moving = moments.moving(name)
        moving = moving[stands[name][moving] < trained.step]
        lost = drift(*moments.at_step(name, moving), moments.step, trained.step, learning_rate)
        moved = before.parameters[name].index_add(0, moving, lost, alpha=-1)
        tensors[name] = moved.index_copy_(0, rows[name], parameters[name])
        first[name] = moments.first[name].index_copy(0, rows[name], trained.first[name])
        second[name] = moments.second[name].index_copy(0, rows[name], trained.second[name])
    return replace(before, parameters=tensors, moments=Moments(trained.step, first, second, stands))


def _to(tensors: Mapping[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}

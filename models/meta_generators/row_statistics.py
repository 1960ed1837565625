"""The row-statistics generator: moves every row of a table by what the closed periods say about it (ours).

With φ [6] the features of a row (statistics.py), A and B [6, width] for each table, shared by all of its rows, and δ
for everything that is no table (algorithms.md):

    θ*_row = θ_row ∘ (1 + φ A) + φ B          θ*_dense = θ_dense + δ

A, B and δ are zero at first, so that it begins as plain incremental update. They are trained on the label loss of the
period that closed last, with θ and φ as they were before it; the gradient is the base model's, carried one product on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.base_models.protocol import BaseModel
from models.local_rows import gathered, local_rows
from models.meta_generators.descent import Generator, Weights, descend
from models.meta_generators.generation import chunk_for
from models.meta_generators.sheets import MLP, columns_of, from_sheets, to_sheets
from models.meta_generators.statistics import Statistics
from models.parameters import Parameters, Tables, sizes_of
from models.samples import Batch, Samples

Features = Callable[[str, Tensor | slice], Tensor]
"""(Vocabulary, rows: their numbers or a slice of all) -> float32 [n, F]: what is known of them, such as φ. F may differ
between vocabularies; a row born later has some too."""


@dataclass(frozen=True, eq=False)
class RowGenerator(Weights):
    """A row-statistics generator between two periods, with the statistics of all periods so far."""

    statistics: Statistics


def first_weights(parameters: Parameters, tables: Tables, features: Features) -> Weights:
    """All zero, on the device of the parameters."""
    shapes = _shapes(columns_of(parameters, tables), _widths(features, tables))
    weights = next(iter(parameters.values())).new_zeros(sum(rows * width for rows, width in shapes.values()))
    return Weights(weights, weights, weights.new_zeros(2, len(weights)), 0)


def train_row_generator(
    generator: Generator,
    features: Features,
    parameters: Parameters,
    samples: Samples,
    base: BaseModel,
    learning_rate: float,
    batch: int,
    average: int,
) -> Generator:
    """One pass over the period that has closed, from Θ and the features before it; only the weights change.

    parameters, features: with a row for every id known by now. A step generates only the rows that its minibatch looks
    up: no other can change its loss.
    """
    if not len(samples):
        return generator
    tables, sizes = base.tables, sizes_of(parameters, base.tables)
    found, local = local_rows(samples, sizes)
    rows = {table: found[of] for table, of in tables.items()}
    known = {table: features(of, rows[table]) for table, of in tables.items()}
    own = gathered(parameters, rows)
    batches = list(local.batches(batch))

    def gradient(weights: Tensor, step: int) -> Tensor:
        looked_up, minibatch = local_rows(batches[step], sizes_of(own, tables))
        few = {table: looked_up[of] for table, of in tables.items()}
        return label_gradient(weights, gathered(own, few), gathered(known, few), minibatch, base)

    return descend(generator, gradient, len(batches), learning_rate, average)


def label_gradient(
    weights: Tensor, parameters: Parameters, features: Mapping[str, Tensor], batch: Batch, base: BaseModel
) -> Tensor:
    """Gradient [P], with respect to ω, of the mean loss of the generated model on a batch.

    features: [rows, F] of the rows of each table.
    """
    tables = base.tables
    widths = {table: known.shape[1] for table, known in features.items()}
    pieces = _pieces(weights, columns_of(parameters, tables), widths)
    sheets = to_sheets(parameters, tables)
    moved = {name: _moved(sheet, pieces[name], features.get(name)) for name, sheet in sheets.items()}
    _, gradients = base.gradients(from_sheets(moved, parameters, tables), batch)
    by_piece = []
    for name, by_sheet in to_sheets(gradients, tables).items():
        if name in features:
            by_sheet = features[name].t() @ torch.cat([by_sheet * sheets[name], by_sheet], dim=1)
        by_piece.append(by_sheet.reshape(-1))
    return torch.cat(by_piece)


def generate(weights: Tensor, features: Features, parameters: Parameters, tables: Tables) -> Parameters:
    """Θ* from Θ and features of as many rows; a few rows at a time, so that little is needed besides the tables."""
    sheets = to_sheets(parameters, tables)
    pieces = _pieces(weights, columns_of(parameters, tables), _widths(features, tables))
    moved = {name: torch.empty_like(sheet) for name, sheet in sheets.items()}
    moved[MLP] = _moved(sheets[MLP], pieces[MLP], None)
    for name, of in tables.items():
        chunk = chunk_for(weights.device)
        for start in range(0, len(sheets[name]), chunk):
            rows = slice(start, start + chunk)
            moved[name][rows] = _moved(sheets[name][rows], pieces[name], features(of, rows))
    return from_sheets(moved, parameters, tables)


def _moved(sheet: Tensor, piece: Tensor, features: Tensor | None) -> Tensor:
    """A sheet, or some rows of it, as generated; the sheet of the dense tensors has no features."""
    if features is None:
        return sheet + piece
    scale, shift = (features @ piece).chunk(2, dim=1)
    return torch.addcmul(sheet + shift, sheet, scale)


def _widths(features: Features, tables: Tables) -> dict[str, int]:
    """Table -> features of a row."""
    return {table: features(of, slice(0, 1)).shape[1] for table, of in tables.items()}


def _shapes(columns: Mapping[str, int], widths: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Of each sheet's part of ω: A beside B for a table, δ for all dense tensors together."""
    return {name: (1, count) if name == MLP else (widths[name], 2 * count) for name, count in columns.items()}


def _pieces(weights: Tensor, columns: Mapping[str, int], widths: Mapping[str, int]) -> dict[str, Tensor]:
    """The parts of ω by sheet, as views. Raises ValueError when there are more or fewer weights than that."""
    shapes = _shapes(columns, widths)
    sizes = [rows * width for rows, width in shapes.values()]
    if sum(sizes) != len(weights):
        raise ValueError(f"a generator of these columns has {sum(sizes)} weights, not {len(weights)}")
    parts = torch.split(weights, sizes)
    return {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}

"""Which GRU generates which scalar: a base model as sheets of scalars, columns of which have a GRU each.

Weight sharing of ASMG (RecSys 2021): an embedding table has one GRU per column, shared by all its rows; every weight
and bias of the MLP has a GRU of its own. So a table is a sheet as it stands, and all of the MLP is one more sheet with
a single row and as many columns as it has scalars. One rule then serves both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from models.meta_generators.gru import Gru
from models.parameters import Parameters, Tables

MLP = "(mlp)"
"""Name of the sheet with one row: all dense tensors, whatever the base model calls them."""


def mlp_names(parameters: Parameters, tables: Tables) -> list[str]:
    """Dense tensors in the order of their columns: by name, for a mapping that was stored may change its order."""
    return sorted(name for name in parameters if name not in tables)


def to_sheets(parameters: Parameters, tables: Tables) -> dict[str, Tensor]:
    """The parameters as sheets [rows, columns]; tables are not copied."""
    dense = [parameters[name].reshape(1, -1) for name in mlp_names(parameters, tables)]
    mlp = torch.cat(dense, dim=1) if dense else next(iter(parameters.values())).new_empty(1, 0)
    return {**{name: parameters[name] for name in tables}, MLP: mlp}


def from_sheets(sheets: Mapping[str, Tensor], like: Parameters, tables: Tables) -> dict[str, Tensor]:
    """The parameters that `to_sheets` laid out; `like` gives names and shapes of the dense tensors."""
    names = mlp_names(like, tables)
    pieces = torch.split(sheets[MLP].reshape(-1), [like[name].numel() for name in names])
    mlp = {name: piece.view(like[name].shape) for name, piece in zip(names, pieces, strict=True)}
    return {**{name: sheets[name] for name in tables}, **mlp}


def grus(weights: Tensor, columns: Mapping[str, int], hidden: int) -> dict[str, Gru]:
    """The GRUs of each sheet as views of one vector ω, which lets an optimizer treat all of them in one go.

    weights: [P], sheet after sheet, each gates, candidate, output, bias (gru.py); columns: of each sheet.
    Raises ValueError when P does not fit.
    """
    shapes = [shape for count in columns.values() for shape in _shapes(count, hidden)]
    sizes = [rows * units * inputs for rows, units, inputs in shapes]
    if sum(sizes) != len(weights):
        raise ValueError(f"a generator of these columns has {sum(sizes)} weights, not {len(weights)}")
    views = [piece.view(shape) for piece, shape in zip(torch.split(weights, sizes), shapes, strict=True)]
    return {name: Gru(*views[4 * i : 4 * i + 4]) for i, name in enumerate(columns)}


def columns_of(parameters: Parameters, tables: Tables) -> dict[str, int]:
    """Columns of each sheet, in the order in which their GRUs stand in ω."""
    mlp = sum(parameters[name].numel() for name in mlp_names(parameters, tables))
    return {**{name: parameters[name].shape[1] for name in tables}, MLP: mlp}


def initial_weights(
    parameters: Parameters, tables: Tables, hidden: int, residual: bool, draw: np.random.Generator
) -> Tensor:
    """ω at the start [P]: Glorot uniform per tensor as the paper's experiment code (TensorFlow 1) has it, where the
    columns of a tensor count as its receptive field: ±sqrt(6 / (columns (inputs + outputs))) for every u, W, w_y, b_y.

    residual: w_y = b_y = 0 instead, so that the generator gives back what it gets.
    """
    columns = columns_of(parameters, tables)
    size = sum(count * units * inputs for total in columns.values() for count, units, inputs in _shapes(total, hidden))
    drawn = draw.uniform(-1.0, 1.0, size).astype(np.float32)
    weights = torch.from_numpy(drawn).to(next(iter(parameters.values())).device)
    for name, gru in grus(weights, columns, hidden).items():
        receptive = _receptive_fields(parameters, tables, name).to(weights.device).view(-1, 1, 1)
        for part in (gru.gates, gru.candidate):
            part[:, :, :1] *= (6 / (receptive * (1 + hidden))).sqrt()
            part[:, :, 1:] *= (6 / (receptive * (hidden + hidden))).sqrt()
        gru.output.mul_(0.0 if residual else (6 / (receptive * (hidden + 1))).sqrt())
        gru.bias.mul_(0.0 if residual else (6 / (receptive * 2)).sqrt())
    return weights


def _shapes(columns: int, hidden: int) -> list[tuple[int, int, int]]:
    return [(columns, 2 * hidden, 1 + hidden), (columns, hidden, 1 + hidden), (columns, 1, hidden), (columns, 1, 1)]


def _receptive_fields(parameters: Parameters, tables: Tables, sheet: str) -> Tensor:
    """For each column of a sheet the number of columns of the tensor that it comes from: float32 [columns]."""
    if sheet in tables:
        return torch.full((parameters[sheet].shape[1],), float(parameters[sheet].shape[1]))
    sizes = torch.tensor([parameters[name].numel() for name in mlp_names(parameters, tables)], dtype=torch.int64)
    return sizes.repeat_interleave(sizes).float()

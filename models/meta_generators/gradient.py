"""The gradient of one generator step: rows looked up -> generated tables -> losses, and all the way back to ω."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.base_models import AnyBaseModel
from models.meta_generators.generation import chunk_for
from models.meta_generators.gru import Gru, Step, backward, forward, output
from models.meta_generators.lookups import Needed, needed, renumbered
from models.meta_generators.sheets import MLP, columns_of, from_sheets, grus, to_sheets
from models.parameters import Parameters
from models.samples import Batch


@dataclass(frozen=True, eq=False)
class Run:
    """The forward pass of one sheet. chunks: (first row, steps) of each piece of at most `chunk` rows;
    outputs: what each step generates, [R_i, columns]."""

    cell: Gru
    chunks: list[tuple[int, list[Step]]]
    outputs: list[Tensor]

    def backward(self, gradients: Sequence[Tensor], into: Gru) -> None:
        """Add the weights' gradients to `into`, from `gradients` [R_i, columns] of the outputs."""
        for start, steps in self.chunks:
            pieces = [gradients[i][start : start + step.xh.shape[-1]].t() for i, step in enumerate(steps)]
            backward(self.cell, steps, [piece.contiguous() for piece in pieces], into)


def window_gradient(
    weights: Tensor,
    hidden: int,
    residual: bool,
    sequences: Mapping[str, Tensor],
    like: Parameters,
    batches: Sequence[Batch | None],
    model: AnyBaseModel,
    chunk: int | None = None,
) -> Tensor:
    """Gradient [P] with respect to ω of the losses of a window's outputs, weighted 1, 2, ... over their sum.

    sequences: inputs and start states (lookups.py), whose row numbers `batches` use; batches[i] is what output i is
    scored on, None for a period without samples; like: names and shapes of the base model's tensors.
    """
    columns = columns_of(like)
    chunk = chunk or chunk_for(weights.device)
    users = needed(sequences["user"].shape[1], [[b.users] if b else [] for b in batches])
    items = needed(sequences["item"].shape[1], [[b.items, b.history] if b else [] for b in batches])
    mlp = Needed(users.rows.new_zeros(1), [1] * len(batches), users.rows.new_zeros(1))
    rows = {"user": users, "item": items, MLP: mlp}
    runs = {
        name: _run(cell, sequences[name], rows[name], residual, chunk)
        for name, cell in grus(weights, columns, hidden).items()
    }
    output_gradients = {name: [torch.zeros_like(table) for table in run.outputs] for name, run in runs.items()}
    total = sum(i + 1 for i, batch in enumerate(batches) if batch)
    for i, batch in enumerate(batches):
        if not batch:
            continue
        generated = from_sheets({name: run.outputs[i] for name, run in runs.items()}, like)
        scored = renumbered(batch, users.places, items.places)
        _, gradients = model.gradients(generated, scored, scale=(i + 1) / total)
        for name, sheet in to_sheets(gradients).items():
            output_gradients[name][i] = sheet
    gradient = torch.zeros_like(weights)
    for name, into in grus(gradient, columns, hidden).items():
        runs[name].backward(output_gradients[name], into)
    return gradient


def _run(cell: Gru, sequences: Tensor, rows: Needed, residual: bool, chunk: int) -> Run:
    """Forward pass of the rows [R] of a sheet, in chunks that stay in the cache."""
    k, columns = len(rows.widths), len(cell.bias)
    outputs = [sequences.new_empty(width, columns) for width in rows.widths]
    chunks = []
    for start in range(0, len(rows.rows), chunk):
        part = rows.rows[start : start + chunk]
        gathered = sequences.index_select(1, part).view(columns, -1, len(part))
        widths = [width - start for width in rows.widths if width > start]
        steps = forward(cell, gathered[:, k:], [gathered[:, i, :width] for i, width in enumerate(widths)])
        for table, step in zip(outputs, steps, strict=False):
            table[start : start + chunk] = output(cell, step, residual).t()
        chunks.append((start, steps))
    return Run(cell, chunks, outputs)

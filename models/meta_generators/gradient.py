"""The gradient of one generator step: rows looked up -> generated tables -> losses, and all the way back to ω."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.base_models.protocol import BaseModel
from models.meta_generators.gru import Gru, Step, backward, forward, output
from models.meta_generators.lookups import Needed, needed
from models.meta_generators.sheets import MLP, columns_of, from_sheets, grus, to_sheets
from models.parameters import Parameters
from models.samples import Batch, renumbered


@dataclass(frozen=True, eq=False)
class Run:
    """The forward pass of the rows of one sheet; outputs: what each step generates, [R_i, columns]."""

    cell: Gru
    steps: list[Step]
    outputs: list[Tensor]

    @staticmethod
    def of(cell: Gru, sequences: Tensor, rows: Needed, residual: bool) -> Run:
        """Gather `rows` of the `sequences` (lookups.py) of a sheet and run them through the window."""
        k, columns, hidden = len(rows.widths), len(cell.bias), cell.output.shape[2]
        gathered = sequences.index_select(1, rows.rows).view(columns, k + hidden, len(rows.rows))
        inputs = [gathered[:, i, :width] for i, width in enumerate(rows.widths)]
        steps = forward(cell, gathered[:, k:], inputs)
        return Run(cell, steps, [output(cell, step, residual).t().contiguous() for step in steps])

    def backward(self, gradients: Sequence[Tensor], into: Gru) -> None:
        """Add the weights' gradients to `into`, from `gradients` [R_i, columns] of the outputs."""
        backward(self.cell, self.steps, [gradient.t().contiguous() for gradient in gradients], into)


def window_gradient(
    weights: Tensor,
    hidden: int,
    residual: bool,
    sequences: Mapping[str, Tensor],
    like: Parameters,
    batches: Sequence[Batch | None],
    base: BaseModel,
) -> Tensor:
    """Gradient [P] with respect to ω of the losses of a window's outputs, weighted 1, 2, ... over their sum.

    sequences: inputs and start states (lookups.py), whose row numbers `batches` use; batches[i] is what output i is
    scored on, None for a period without samples; like: names and shapes of the base model's tensors.
    """
    tables = base.tables
    columns = columns_of(like, tables)
    sizes = {vocabulary: sequences[table].shape[1] for table, vocabulary in tables.items()}
    found = {of: needed(size, [b.rows(of) if b else [] for b in batches]) for of, size in sizes.items()}
    places = {vocabulary: one.places for vocabulary, one in found.items()}
    first = torch.zeros(1, dtype=torch.int64, device=weights.device)
    rows = {table: found[vocabulary] for table, vocabulary in tables.items()}
    rows[MLP] = Needed(first, [1] * len(batches), first)
    cells = grus(weights, columns, hidden)
    runs = {name: Run.of(cell, sequences[name], rows[name], residual) for name, cell in cells.items()}
    output_gradients = {name: [torch.zeros_like(table) for table in run.outputs] for name, run in runs.items()}
    total = sum(i + 1 for i, batch in enumerate(batches) if batch)
    for i, batch in enumerate(batches):
        if not batch:
            continue
        generated = from_sheets({name: run.outputs[i] for name, run in runs.items()}, like, tables)
        _, gradients = base.gradients(generated, renumbered(batch, places), scale=(i + 1) / total)
        for name, sheet in to_sheets(gradients, tables).items():
            output_gradients[name][i] = sheet
    gradient = torch.zeros_like(weights)
    for name, into in grus(gradient, columns, hidden).items():
        runs[name].backward(output_gradients[name], into)
    return gradient

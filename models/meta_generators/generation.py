"""Generating a whole base model Θ* from a window of snapshots, in one pass over its rows.

Where the window has slid by one, a row takes k + 1 steps: one on the snapshot that left, whose state is the start of
the window from now on, then k on the window (the hidden state continues: RecSys 2021, arXiv 2111.04282).
Rows go in chunks, so that what is needed besides tables and states does not grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.meta_generators.gru import Gru, forward, output
from models.meta_generators.sheets import columns_of, from_sheets, grus, to_sheets
from models.parameters import Parameters, Tables

CHUNKS = {"cpu": 2048}
"""Rows at a time by kind of device. With 8 columns and hidden size 4 a CPU's buffers are then 256 KiB, small enough for
its cache and large enough to hide the cost of a call; other devices want many more rows per call."""
CHUNK_ELSEWHERE = 2**18


HiddenState = Mapping[str, Tensor]
"""Per sheet [rows, columns, H]: the state before the first step of the window. Never changed in place."""


def chunk_for(device: torch.device) -> int:
    """Rows at a time that suit a device."""
    return CHUNKS.get(device.type, CHUNK_ELSEWHERE)


def zero_state(parameters: Parameters, tables: Tables, hidden: int) -> dict[str, Tensor]:
    """The hidden state before the first window has slid."""
    sheets = to_sheets(parameters, tables)
    return {name: sheet.new_zeros(*sheet.shape, hidden) for name, sheet in sheets.items()}


def grown_state(state: HiddenState, parameters: Parameters, tables: Tables) -> dict[str, Tensor]:
    """The state with a row for every row of `parameters`: a row born later starts from zeros."""
    grown: dict[str, Tensor] = {}
    for name, sheet in to_sheets(parameters, tables).items():
        missing = len(sheet) - len(state[name])
        known = state[name]
        grown[name] = torch.cat([known, known.new_zeros(missing, *known.shape[1:])]) if missing else known
    return grown


def generate(
    weights: Tensor,
    state: HiddenState,
    outgoing: Parameters | None,
    window: Sequence[Parameters],
    tables: Tables,
    residual: bool,
    chunk: int | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Θ* from the weights ω [P], and the state at the start of `window`: (hidden state, parameters).

    state: before `outgoing`, the snapshot that just left the window; if None, nothing left and `state` stays as it is.
    window: oldest first, at least one; all snapshots have as many rows as the newest, `state` has at most as many.
    chunk: rows at a time, by default what suits the device.
    """
    newest = window[-1]
    chunk = chunk or chunk_for(weights.device)
    state = grown_state(state, newest, tables)
    hidden = next(iter(state.values())).shape[-1]
    cells = grus(weights, columns_of(newest, tables), hidden)
    snapshots = [to_sheets(snapshot, tables) for snapshot in ([] if outgoing is None else [outgoing]) + list(window)]
    after = {name: known if outgoing is None else torch.empty_like(known) for name, known in state.items()}
    generated = {name: torch.empty_like(sheet) for name, sheet in snapshots[-1].items()}
    for name, cell in cells.items():
        for start in range(0, len(generated[name]), chunk):
            rows = slice(start, start + chunk)
            inputs = [snapshot[name][rows] for snapshot in snapshots]
            first, generated[name][rows] = _generate_rows(cell, state[name][rows], inputs, residual)
            if outgoing is not None:
                after[name][rows] = first
    return after, from_sheets(generated, newest, tables)


def _generate_rows(cell: Gru, state: Tensor, inputs: Sequence[Tensor], residual: bool) -> tuple[Tensor, Tensor]:
    """(State after the first step [R, n, H], last output [R, n]) of rows with inputs [R, n] and `state` [R, n, H]."""
    steps = forward(cell, state.permute(1, 2, 0), [x.t() for x in inputs])
    return steps[0].hidden.permute(2, 0, 1), output(cell, steps[-1], residual).t()

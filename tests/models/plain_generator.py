"""ASMG-GRU the plain way: whole tables, rows first, torch's own gradients. Slow, and easy to hold against the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.base_models.embedding_mlp import EmbeddingMlp
from models.meta_generators.gru import Gru
from models.meta_generators.sheets import columns_of, from_sheets, grus, to_sheets
from models.parameters import Parameters
from models.samples import Batch, Samples

Sheets = dict[str, Tensor]
TABLES = EmbeddingMlp().tables


def gru_step(gru: Gru, h: Tensor, x: Tensor, residual: bool) -> tuple[Tensor, Tensor]:
    """(h' [R, n, H], y [R, n]) from h [R, n, H] and x [R, n], term by term as in the paper."""
    size = h.shape[-1]
    uz, ur = gru.gates[:, :size, 0], gru.gates[:, size:, 0]
    wz, wr = gru.gates[:, :size, 1:].mT, gru.gates[:, size:, 1:].mT
    ug, wg = gru.candidate[:, :, 0], gru.candidate[:, :, 1:].mT
    z = torch.sigmoid(x[..., None] * uz + torch.einsum("rni,nij->rnj", h, wz))
    r = torch.sigmoid(x[..., None] * ur + torch.einsum("rni,nij->rnj", h, wr))
    g = torch.tanh(x[..., None] * ug + torch.einsum("rni,nij->rnj", h * r, wg))
    after = (1 - z) * h + z * g
    y = (after * gru.output[:, 0]).sum(-1) + gru.bias[:, 0, 0]
    return after, y + x if residual else y


def run(
    weights: Tensor, hidden: Sheets, window: Sequence[Parameters], residual: bool
) -> tuple[list[Parameters], list[Sheets]]:
    """All outputs of a window, and the hidden states after each step."""
    size = hidden["user"].shape[-1]
    cells = grus(weights, columns_of(window[0], TABLES), size)
    outputs, states = [], []
    for snapshot in window:
        steps = {n: gru_step(cells[n], hidden[n], x, residual) for n, x in to_sheets(snapshot, TABLES).items()}
        hidden = {n: h for n, (h, _) in steps.items()}
        states.append(hidden)
        outputs.append(from_sheets({n: y for n, (_, y) in steps.items()}, snapshot, TABLES))
    return outputs, states


def loss(p: Parameters, batch: Batch | Samples) -> Tensor:
    """Mean cross-entropy of Embedding & MLP with two hidden layers, one sample at a time."""
    logits = []
    for b in range(len(batch)):
        history = batch.history[int(batch.offsets[b]) : int(batch.offsets[b + 1])]
        pooled = p["item"][history].mean(0) if len(history) else torch.zeros_like(p["item"][0])
        x = torch.cat([p["user"][batch.users[b]], pooled, p["item"][batch.items[b]]])
        x = torch.relu(x @ p["w1"] + p["b1"])
        x = torch.relu(x @ p["w2"] + p["b2"])
        logits.append(x @ p["w3"] + p["b3"])
    labels = batch.labels.to(p["w1"].dtype)
    return F.binary_cross_entropy_with_logits(torch.cat(logits), labels)


def window_loss(
    weights: Tensor, hidden: Sheets, window: Sequence[Parameters], batches: Sequence[Batch | None], residual: bool
) -> Tensor:
    """Losses of the outputs on the batch of each, weighted 1, 2, ... over their sum."""
    outputs, _ = run(weights, hidden, window, residual)
    scored = [(i + 1, loss(outputs[i], batch)) for i, batch in enumerate(batches) if batch is not None]
    total = torch.stack([share * value for share, value in scored]).sum()
    return total / sum(share for share, _ in scored)


def window_of(length: int, users: int = 12, items: int = 15, seed: int = 0) -> list[Parameters]:
    """Snapshots of a small base model that wander; float64, with values far from zero, so that gates bend."""
    draw = np.random.default_rng(seed)
    shapes = {"user": (users, 8), "item": (items, 8)}
    shapes |= {"w1": (24, 12), "b1": (12,), "w2": (12, 6), "b2": (6,), "w3": (6, 1), "b3": (1,)}
    tensors = {name: torch.from_numpy(draw.normal(0, 0.5, shape)) for name, shape in shapes.items()}
    window = []
    for _ in range(length):
        tensors = {name: t + torch.from_numpy(draw.normal(0, 0.1, t.shape)) for name, t in tensors.items()}
        window.append(tensors)
    return window


def samples_of(count: int, users: int = 12, items: int = 15, seed: int = 0) -> Samples:
    """Random samples, some without history, some ids looked up many times."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, 5, count)
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))
    columns = [torch.from_numpy(draw.integers(1, rows, n)) for rows, n in ((users, count), (items, count))]
    history = torch.from_numpy(draw.integers(1, items, int(lengths.sum())))
    labels = torch.from_numpy(draw.integers(0, 2, count).astype(np.float32))
    seen = torch.ones(count, dtype=torch.bool)
    return Samples(*columns, labels, history, offsets, seen, seen)


def state_of(window: Sequence[Parameters], size: int = 4, seed: int = 9) -> Sheets:
    """A hidden state that is not zero."""
    draw = np.random.default_rng(seed)
    return {
        n: torch.from_numpy(draw.uniform(-0.8, 0.8, (*s.shape, size))) for n, s in to_sheets(window[0], TABLES).items()
    }


def weights_of(parameters: Parameters, size: int = 4, seed: int = 3) -> Tensor:
    """Weights ω, float64, none of them zero."""
    total = sum(count * (3 * size * (1 + size) + size + 1) for count in columns_of(parameters, TABLES).values())
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.4, total))

"""The GRU by hand: forward against scalar loops from the paper, backward against torch's gradients in float64."""

from __future__ import annotations

import math

import numpy as np
import plain_generator as plain
import pytest
import torch
from torch import Tensor

from models.meta_generators.gru import Gru, backward, forward, output, step

COLUMNS, ROWS = 3, 5


def gru_of(hidden: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Gru:
    draw = np.random.default_rng(seed)
    shapes = [(2 * hidden, 1 + hidden), (hidden, 1 + hidden), (1, hidden), (1, 1)]
    return Gru(*(torch.from_numpy(draw.normal(0, 0.7, (COLUMNS, *shape))).to(dtype) for shape in shapes))


def values(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.8, shape)).to(dtype)


def sigma(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def scalar_step(
    uz: list[float],
    wz: list[list[float]],
    ur: list[float],
    wr: list[list[float]],
    ug: list[float],
    wg: list[list[float]],
    wy: list[float],
    by: float,
    x: float,
    h: list[float],
) -> tuple[list[float], float]:
    """The paper's equations for one scalar: (h', y). W is applied from the right: (h W)_j = sum over i of h_i W_ij."""
    size = range(len(h))
    z = [sigma(x * uz[j] + sum(h[i] * wz[i][j] for i in size)) for j in size]
    r = [sigma(x * ur[j] + sum(h[i] * wr[i][j] for i in size)) for j in size]
    g = [math.tanh(x * ug[j] + sum(h[i] * r[i] * wg[i][j] for i in size)) for j in size]
    after = [(1 - z[j]) * h[j] + z[j] * g[j] for j in size]
    return after, sum(after[j] * wy[j] for j in size) + by


@pytest.mark.parametrize("hidden", [1, 2, 4])
@pytest.mark.parametrize("residual", [False, True])
def test_a_step_equals_a_scalar_loop_over_the_papers_equations(hidden: int, residual: bool) -> None:
    draw = np.random.default_rng(5)
    u = {gate: draw.normal(0, 1, (COLUMNS, hidden)) for gate in "zrg"}
    w = {gate: draw.normal(0, 1, (COLUMNS, hidden, hidden)) for gate in "zrg"}
    wy, by = draw.normal(0, 1, (COLUMNS, hidden)), draw.normal(0, 1, COLUMNS)
    joined = {gate: np.concatenate([u[gate][:, :, None], w[gate].transpose(0, 2, 1)], axis=2) for gate in "zrg"}
    gru = Gru(
        torch.from_numpy(np.concatenate([joined["z"], joined["r"]], axis=1)),
        torch.from_numpy(joined["g"]),
        torch.from_numpy(wy[:, None]),
        torch.from_numpy(by[:, None, None]),
    )
    x, h = draw.normal(0, 1, (COLUMNS, ROWS)), draw.normal(0, 1, (COLUMNS, hidden, ROWS))
    taken = step(gru, torch.from_numpy(np.concatenate([x[:, None], h], axis=1)))
    generated = output(gru, taken, residual)
    for n in range(COLUMNS):
        weights = [part[n].tolist() for gate in "zrg" for part in (u[gate], w[gate])]
        for row in range(ROWS):
            after, y = scalar_step(*weights, wy[n].tolist(), float(by[n]), float(x[n, row]), h[n, :, row].tolist())
            assert taken.hidden[n, :, row].tolist() == pytest.approx(after, abs=1e-14)
            assert float(generated[n, row]) == pytest.approx(y + (x[n, row] if residual else 0.0), abs=1e-14)


@pytest.mark.parametrize("residual", [False, True])
def test_a_step_in_float32_agrees_with_the_plain_formula(residual: bool) -> None:
    gru, x, h = gru_of(4, torch.float32), values(ROWS, COLUMNS).float(), values(ROWS, COLUMNS, 4, seed=2).float()
    taken = step(gru, torch.cat([x.t()[:, None], h.permute(1, 2, 0)], dim=1))
    after, y = plain.gru_step(gru, h, x, residual)
    torch.testing.assert_close(taken.hidden.permute(2, 0, 1), after, rtol=0, atol=5e-7)
    torch.testing.assert_close(output(gru, taken, residual).t(), y, rtol=0, atol=5e-7)


def gradients_by_autograd(gru: Gru, start: Tensor, inputs: list[Tensor], pulls: list[Tensor]) -> list[Tensor]:
    """Of the sum of pulls ∘ outputs, every row on its own through as many steps as it has inputs."""
    weights = [part.double().requires_grad_() for part in (gru.gates, gru.candidate, gru.output, gru.bias)]
    total = torch.zeros((), dtype=torch.float64)
    for row in range(start.shape[-1]):
        h = start[None, :, :, row].double()
        for x, pull in zip(inputs, pulls, strict=True):
            if row < x.shape[-1]:
                h, y = plain.gru_step(Gru(*weights), h, x[None, :, row].double(), residual=False)
                total = total + (y[0] * pull[:, row].double()).sum()
    return list(torch.autograd.grad(total, weights))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("widths", [[5], [5, 5, 5], [5, 3, 1], [4, 4, 2, 2]])
def test_all_gradients_of_a_window_equal_float64_autograd(
    widths: list[int], dtype: torch.dtype, tolerance: float
) -> None:
    gru, start = gru_of(4, dtype), values(COLUMNS, 4, widths[0], seed=4, dtype=dtype)
    inputs = [values(COLUMNS, width, seed=10 + i, dtype=dtype) for i, width in enumerate(widths)]
    pulls = [values(COLUMNS, width, seed=20 + i, dtype=dtype) for i, width in enumerate(widths)]
    into = Gru(*(torch.zeros_like(part) for part in (gru.gates, gru.candidate, gru.output, gru.bias)))
    backward(gru, forward(gru, start, inputs), pulls, into)
    expected = gradients_by_autograd(gru, start, inputs, pulls)
    for got, want in zip((into.gates, into.candidate, into.output, into.bias), expected, strict=True):
        assert float((got.double() - want).abs().max() / want.abs().max()) <= tolerance


def test_a_row_that_needs_fewer_steps_takes_the_same_ones() -> None:
    gru, start = gru_of(4), values(COLUMNS, 4, ROWS)
    inputs = [values(COLUMNS, ROWS, seed=seed) for seed in (1, 2, 3)]
    whole = forward(gru, start, inputs)
    narrow = forward(gru, start, [inputs[0], inputs[1][:, :3], inputs[2][:, :2]])
    for taken, every, width in zip(narrow, whole, (ROWS, 3, 2), strict=True):
        assert taken.hidden.shape[-1] == width
        torch.testing.assert_close(taken.hidden, every.hidden[..., :width], rtol=0, atol=1e-14)


def test_gradients_are_added_to_what_is_there() -> None:
    gru, start, inputs = gru_of(2), values(COLUMNS, 2, ROWS), [values(COLUMNS, ROWS)]
    once, twice = (Gru(*(torch.zeros_like(t) for t in vars(gru).values())) for _ in range(2))
    backward(gru, forward(gru, start, inputs), inputs, once)
    for _ in range(2):
        backward(gru, forward(gru, start, inputs), inputs, twice)
    torch.testing.assert_close(twice.gates, 2 * once.gates)
    torch.testing.assert_close(twice.bias, 2 * once.bias)

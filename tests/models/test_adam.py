"""Adam against the formulas and against `torch.optim.Adam` over whole tables in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.adam import FORGOTTEN, Moments, dense_step, drift

RATE = 3e-3


def scalar_adam(p: float, m: float, v: float, gradients: list[float], step: int = 0) -> tuple[float, float, float]:
    """Kingma and Ba, algorithm 1, a number at a time."""
    for t, g in enumerate(gradients, step + 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        p -= RATE * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)
    return p, m, v


def moments_of(gradient: float, step: int, size: int = 4) -> tuple[float, float]:
    """m and v as some history of gradients of that size leaves them at `step`."""
    gradients = [gradient * (1 + 0.5 * ((t * 7919) % size)) * (-1 if t % 3 == 0 else 1) for t in range(min(step, 300))]
    return scalar_adam(0.0, 0.0, 0.0, gradients)[1:]


@pytest.mark.parametrize("size", [1e-9, 1e-7, 1e-5, 1e-2])
@pytest.mark.parametrize("step", [1, 80, 199, 200, 1_000, 50_000])
def test_drift_equals_the_steps_one_by_one(step: int, size: float) -> None:
    """Over the bend of the corrections and past it, with eps mattering (1e-9) and not."""
    m, v = moments_of(size, step)
    for gap in (1, 2, 20, 80, 399, 400, 1_000):
        expected = -scalar_adam(0.0, m, v, [0.0] * gap, step)[0]
        for dtype, tolerance in ((torch.float64, 1e-5), (torch.float32, 2e-5)):
            first, second = torch.tensor([[m]], dtype=dtype), torch.tensor([[v]], dtype=dtype)
            assert float(drift(first, second, step, step + gap, RATE)) == pytest.approx(expected, rel=tolerance), gap


def test_drift_over_two_stretches_is_drift_over_the_whole() -> None:
    m, v = moments_of(1e-3, 300)
    first, second = torch.tensor([[m]], dtype=torch.float64), torch.tensor([[v]], dtype=torch.float64)
    for step, middle, end in ((100, 150, 190), (150, 250, 330), (300, 301, 302), (1_000, 1_080, 1_400)):
        rest = drift(first * 0.9 ** (middle - step), second * 0.999 ** (middle - step), middle, end, RATE)
        halves = drift(first, second, step, middle, RATE) + rest
        torch.testing.assert_close(halves, drift(first, second, step, end, RATE), rtol=1e-6, atol=0.0)


def test_dense_step_equals_the_formula() -> None:
    gradients = [0.3, -0.1, 1e-7, 0.0, 2.0]
    p, m, v = (torch.tensor([x], dtype=torch.float64) for x in (0.5, 0.0, 0.0))
    steps = [torch.tensor(0.0)]
    for gradient in gradients:
        dense_step([p], [torch.tensor([gradient], dtype=torch.float64)], [m], [v], steps, RATE)
    assert (float(p), float(m), float(v)) == pytest.approx(scalar_adam(0.5, 0.0, 0.0, gradients), rel=1e-12)
    assert float(steps[0]) == len(gradients)


TABLES = {"user": "user", "item": "item"}


def tables(users: int) -> dict[str, Tensor]:
    return {"user": torch.zeros(users, 2), "item": torch.zeros(2, 2), "w1": torch.zeros(3)}


def test_rows_that_were_never_trained_are_not_moving() -> None:
    assert Moments.start(tables(5), TABLES).moving("user").tolist() == []


def test_a_row_moves_until_its_momentum_is_forgotten() -> None:
    start = Moments.start(tables(5), TABLES)
    stands = {
        **start.stands,
        "user": torch.tensor([0, 1_000, 1_000 - FORGOTTEN + 1, 1_000 - FORGOTTEN, 1], dtype=torch.int32),
    }
    assert Moments(1_000, start.first, start.second, stands).moving("user").tolist() == [1, 2]


def test_moments_decay_to_the_step_at_which_they_are_needed() -> None:
    start = Moments.start(tables(4), TABLES)
    ones = {**start.first, "user": torch.ones(4, 2)}
    stands = {**start.stands, "user": torch.tensor([0, 500, 490, 100], dtype=torch.int32)}
    first, second = Moments(500, ones, ones, stands).at_step("user", torch.tensor([1, 2, 3]))
    assert first[:, 0].tolist() == pytest.approx([1.0, 0.9**10, 0.0])
    assert second[:, 0].tolist() == pytest.approx([1.0, 0.999**10, 0.999**400])
    assert bool((ones["user"] == 1).all())


def test_new_rows_have_no_moments() -> None:
    grown = Moments.start(tables(2), TABLES).grown(tables(7))
    assert grown.first["user"].shape == grown.second["user"].shape == (7, 2)
    assert grown.stands["user"].tolist() == [0] * 7
    assert grown.stands["user"].dtype == torch.int32
    assert grown.first["w1"].shape == (3,)

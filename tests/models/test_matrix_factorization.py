"""Matrix factorization against its formula: scalar loops and float64 autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models.base_models.matrix_factorization import MatrixFactorization
from models.parameters import Parameters
from models.samples import Batch

MODEL = MatrixFactorization(width=5)
SIZES = {"user": 21, "item": 16}


def parameters(seed: int = 0) -> Parameters:
    """Values off zero everywhere, so that every part of the gradient is exercised."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.randn(tensor.shape, generator=draw) for name, tensor in MODEL.init(SIZES, 0, 0).items()}


def batch(size: int, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    users, items = (torch.randint(1, rows, (size,), generator=draw) for rows in SIZES.values())
    labels = torch.randint(0, 2, (size,), generator=draw).float()
    return Batch(users, items, labels, torch.empty(0, dtype=torch.int64), torch.zeros(size + 1, dtype=torch.int64))


def autograd(p: Parameters, b: Batch) -> dict[str, Tensor]:
    q = {name: tensor.double().requires_grad_() for name, tensor in p.items()}
    scores = q["user"] @ q["item"].t() + q["user_bias"] + q["item_bias"].t() + q["bias"]
    torch.autograd.backward(binary_cross_entropy_with_logits(scores[b.users, b.items], b.labels.double()))
    return {name: tensor.grad for name, tensor in q.items() if tensor.grad is not None}


def test_logits_are_the_formula() -> None:
    p, b = parameters(), batch(40)
    values = {name: tensor.double().tolist() for name, tensor in p.items()}
    expected = [
        sum(x * y for x, y in zip(values["user"][u], values["item"][i], strict=True))
        + values["user_bias"][u][0]
        + values["item_bias"][i][0]
        + values["bias"][0]
        for u, i in zip(b.users.tolist(), b.items.tolist(), strict=True)
    ]
    assert MODEL.logits(p, b).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_gradients_equal_float64_autograd(size: int) -> None:
    p, b = parameters(size), batch(size, size)
    logits, found = MODEL.gradients(p, b)
    expected = autograd(p, b)
    assert torch.equal(logits, MODEL.logits(p, b))
    assert found.keys() == p.keys() == expected.keys()
    for name, gradient in expected.items():
        assert found[name].shape == p[name].shape
        assert (found[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 1e-12, name
        assert torch.allclose(MODEL.gradients(p, b, 0.25)[1][name], found[name] / 4)


def test_it_begins_with_small_factors_and_without_biases() -> None:
    p = MatrixFactorization().init({"user": 3001, "item": 2001}, 0, 0)
    shapes = {"user": (3001, 8), "item": (2001, 8), "user_bias": (3001, 1), "item_bias": (2001, 1), "bias": (1,)}
    assert {name: tuple(tensor.shape) for name, tensor in p.items()} == shapes
    assert not any(p[name].any() for name in ("user_bias", "item_bias", "bias"))
    for table, limit in {"user": (6 / 3008) ** 0.5, "item": (6 / 2008) ** 0.5}.items():
        assert not p[table][0].any()
        assert 0.9 * limit < p[table].abs().max() <= limit * (1 + 1e-6)


def test_without_width_it_is_refused() -> None:
    with pytest.raises(ValueError, match="width"):
        MatrixFactorization(width=0)

"""Embedding & MLP against its description: scalar loops, float64 autograd, and values that do not depend on when."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models.base_models.embedding_mlp import EmbeddingMlp
from models.parameters import ITEM, USER, Parameters
from models.samples import Batch

MODEL = EmbeddingMlp()
USERS, ITEMS = 40, 30
SIZES = {USER: USERS + 1, ITEM: ITEMS + 1}


def parameters(seed: int = 0, spread: float = 20.0) -> Parameters:
    """Initial parameters with larger tables and biases off zero, so that every part of the gradient is exercised."""
    drawn = dict(MODEL.init(SIZES, seed, 0))
    generator = torch.Generator().manual_seed(seed)
    for name in drawn:
        if name in MODEL.tables:
            drawn[name] = drawn[name] * spread
        elif name.startswith("b"):
            drawn[name] = torch.rand(drawn[name].shape, generator=generator) - 0.3
    return drawn


def batch_of(histories: list[list[int]], seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = len(histories)
    return Batch(
        users=torch.randint(1, USERS + 1, (size,), generator=generator),
        items=torch.randint(1, ITEMS + 1, (size,), generator=generator),
        labels=torch.randint(0, 2, (size,), generator=generator).float(),
        history=torch.tensor([item for history in histories for item in history], dtype=torch.int64),
        offsets=torch.tensor([0, *torch.tensor([len(history) for history in histories]).cumsum(0).tolist()]),
    )


def random_histories(size: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 8, (size,), generator=generator).tolist()
    return [torch.randint(1, ITEMS + 1, (length,), generator=generator).tolist() for length in lengths]


BATCHES = {
    "random": batch_of(random_histories(64, 1), 1),
    "no sample has a history": batch_of([[], [], [], []]),
    "first and last history empty": batch_of([[], [3, 4], [5], []]),
    "repeated ids": batch_of([[7, 7, 7], [7], [2, 7, 2]]),
    "one sample": batch_of([[1, 2, 3]]),
}


def by_loops(p: Parameters, batch: Batch) -> list[float]:
    """The logits, one sample and one number at a time."""
    values = {name: tensor.double().tolist() for name, tensor in p.items()}
    logits = []
    for b in range(len(batch)):
        history = batch.history[int(batch.offsets[b]) : int(batch.offsets[b + 1])].tolist()
        x = list(values["user"][int(batch.users[b])])
        x += [sum(values["item"][i][d] for i in history) / len(history) if history else 0.0 for d in range(8)]
        x += values["item"][int(batch.items[b])]
        for n in (1, 2, 3):
            columns = zip(*values[f"w{n}"], strict=True)
            x = [sum(map(math.prod, zip(x, w, strict=True))) + c for w, c in zip(columns, values[f"b{n}"], strict=True)]
            x = [max(v, 0.0) for v in x] if n < 3 else x
        logits.append(x[0])
    return logits


def by_autograd(p: Parameters, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean loss and its gradients in float64, by a mask instead of bags."""
    q = {name: tensor.double().requires_grad_() for name, tensor in p.items()}
    owners = torch.repeat_interleave(torch.arange(len(batch)), batch.offsets.diff())
    counts = torch.zeros(len(batch), len(q["item"]), dtype=torch.float64)
    for owner, item in zip(owners.tolist(), batch.history.tolist(), strict=True):
        counts[owner, item] += 1
    pooled = counts @ q["item"] / counts.sum(1, keepdim=True).clamp(min=1)
    x = torch.cat([q["user"][batch.users], pooled, q["item"][batch.items]], 1)
    x = torch.relu(x @ q["w1"] + q["b1"])
    x = torch.relu(x @ q["w2"] + q["b2"])
    loss = binary_cross_entropy_with_logits((x @ q["w3"] + q["b3"])[:, 0], batch.labels.double())
    torch.autograd.backward(loss)
    return loss.detach(), {name: tensor.grad for name, tensor in q.items() if tensor.grad is not None}


@pytest.mark.parametrize("case", BATCHES)
def test_logits_equal_the_description_by_loops(case: str) -> None:
    p, batch = parameters(), BATCHES[case]
    assert MODEL.logits(p, batch).tolist() == pytest.approx(by_loops(p, batch), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("case", BATCHES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_equal_float64_autograd(case: str, seed: int) -> None:
    p, batch = parameters(seed), BATCHES[case]
    _, found = MODEL.gradients(p, batch)
    _, expected = by_autograd(p, batch)
    assert found.keys() == p.keys() == expected.keys()
    for name, gradient in expected.items():
        assert found[name].shape == p[name].shape
        assert (found[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 1e-12, name


def test_other_widths_and_depths_follow_the_same_mathematics() -> None:
    model = EmbeddingMlp(width=3, hidden=(5,))
    p, batch = model.init(SIZES, 0, 0), BATCHES["random"]
    q = {name: tensor.double().requires_grad_() for name, tensor in p.items()}
    bags = [q["item"][batch.history[a:b]] for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
    pooled = torch.stack([bag.sum(0) / max(len(bag), 1) for bag in bags])
    x = torch.relu(torch.cat([q["user"][batch.users], pooled, q["item"][batch.items]], 1) @ q["w1"] + q["b1"])
    torch.autograd.backward(binary_cross_entropy_with_logits((x @ q["w2"] + q["b2"])[:, 0], batch.labels.double()))
    for name, gradient in model.gradients(p, batch)[1].items():
        torch.testing.assert_close(gradient.double(), q[name].grad, rtol=1e-5, atol=1e-8)


def test_initial_values_are_glorot_uniform_with_zero_biases_and_zero_cold_rows() -> None:
    p = MODEL.init({USER: 3001, ITEM: 2001}, 0, 0)
    limits = {"user": (6 / 3008) ** 0.5, "item": (6 / 2008) ** 0.5}
    limits |= {"w1": (6 / 36) ** 0.5, "w2": (6 / 18) ** 0.5, "w3": (6 / 7) ** 0.5}
    shapes = {"w1": (24, 12), "b1": (12,), "w2": (12, 6), "b2": (6,), "w3": (6, 1), "b3": (1,)}
    shapes |= {"user": (3001, 8), "item": (2001, 8)}
    assert {name: tuple(tensor.shape) for name, tensor in p.items()} == shapes
    for name, limit in limits.items():
        assert p[name].abs().max() <= limit * (1 + 1e-6)
        assert p[name].abs().max() > 0.6 * limit
    for table in MODEL.tables:
        assert (p[table][0] == 0).all()
        spread = p[table][1:].std() / (limits[table] / 3**0.5)
        assert 0.97 < spread < 1.03
        assert abs(float(p[table][1:].mean())) < 0.05 * limits[table]
    assert all((p[bias] == 0).all() for bias in ("b1", "b2", "b3"))


def test_seed_initialisation_and_tensor_decide_the_values_and_nothing_else() -> None:
    fifty = {USER: 50, ITEM: 50}
    first, again = MODEL.init(fifty, 3, 0), MODEL.init(fifty, 3, 0)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (MODEL.init(fifty, 4, 0), MODEL.init(fifty, 3, 1)):
        assert all(not torch.equal(first[name], other[name]) for name in ("user", "item", "w1", "w2", "w3"))
    assert not torch.equal(first["user"], first["item"])


def test_a_table_without_room_for_its_cold_row_is_refused() -> None:
    with pytest.raises(ValueError, match="user"):
        MODEL.init({USER: 0, ITEM: 5}, 0, 0)


@pytest.mark.parametrize("settings", [{"width": 0}, {"hidden": (12, 0)}])
def test_a_model_without_width_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="positive"):
        EmbeddingMlp(**settings)  # type: ignore[arg-type]

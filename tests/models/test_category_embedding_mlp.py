"""Embedding & MLP with categories against its description: scalar loops and float64 autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models.base_models.category_embedding_mlp import CategoryEmbeddingMlp
from models.base_models.embedding_mlp import EmbeddingMlp
from models.learning import LearningSettings
from models.parameters import CATEGORY, ITEM, USER, Parameters
from models.samples import Batch

MODEL = CategoryEmbeddingMlp()
SIZES = {USER: 41, ITEM: 31, CATEGORY: 8}
Rows = list[list[int]]


def parameters(seed: int = 0) -> Parameters:
    """Initial parameters with larger tables and biases off zero, so that every part of the gradient is exercised."""
    drawn = dict(MODEL.init(SIZES, seed, 0))
    generator = torch.Generator().manual_seed(seed)
    for name in drawn:
        if name in MODEL.tables:
            drawn[name] = drawn[name] * 8
        elif name.startswith("b"):
            drawn[name] = torch.rand(drawn[name].shape, generator=generator) - 0.3
    return drawn


def ragged(rows: Rows) -> tuple[Tensor, Tensor]:
    ends = torch.tensor([0, *map(len, rows)]).cumsum(0)
    return torch.tensor([one for row in rows for one in row], dtype=torch.int64), ends


def batch_of(histories: Rows, categories: Rows, of_entries: Rows, seed: int = 0) -> Batch:
    generator, size = torch.Generator().manual_seed(seed), len(histories)
    return Batch(
        torch.randint(1, 41, (size,), generator=generator),
        torch.randint(1, 31, (size,), generator=generator),
        torch.randint(0, 2, (size,), generator=generator).float(),
        *ragged(histories),
        *ragged(categories),
        *ragged(of_entries),
    )


def drawn_rows(count: int, most: int, rows: int, seed: int) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, most + 1, (count,), generator=generator).tolist()
    return [(torch.randperm(rows - 1, generator=generator)[:length] + 1).sort()[0].tolist() for length in lengths]


def random_batch(size: int, seed: int) -> Batch:
    histories = drawn_rows(size, 6, 31, seed)
    return batch_of(histories, drawn_rows(size, 3, 8, seed + 1), drawn_rows(sum(map(len, histories)), 3, 8, seed + 2))


BATCHES = {
    "random": random_batch(64, 1),
    "nothing has a category": batch_of([[1, 2], [], [3]], [[], [], []], [[], [], []]),
    "no sample has a history": batch_of([[], [], []], [[1], [], [2, 3]], []),
    "first and last entries without": batch_of([[4, 5, 6], [7]], [[], [7]], [[], [1, 2, 3], [], []]),
    "one sample": batch_of([[9]], [[2]], [[2]]),
}


def mean(vectors: list[list[float]]) -> list[float]:
    return [sum(values) / len(vectors) for values in zip(*vectors, strict=True)] if vectors else [0.0] * 8


def cut(values: Tensor, offsets: Tensor, row: int) -> list[int]:
    return [int(value) for value in values[int(offsets[row]) : int(offsets[row + 1])]]


def by_loops(p: Parameters, batch: Batch) -> list[float]:
    """The logits, one sample and one number at a time."""
    values = {name: tensor.double().tolist() for name, tensor in p.items()}
    logits = []
    for b in range(len(batch)):
        entries = range(int(batch.offsets[b]), int(batch.offsets[b + 1]))
        of_entries = [cut(batch.history_categories, batch.history_category_offsets, entry) for entry in entries]
        x = list(values["user"][int(batch.users[b])])
        x += mean([values["item"][int(batch.history[entry])] for entry in entries])
        x += mean([mean([values["category"][row] for row in own]) for own in of_entries])
        x += values["item"][int(batch.items[b])]
        x += mean([values["category"][row] for row in cut(batch.categories, batch.category_offsets, b)])
        for n in (1, 2, 3):
            columns = zip(*values[f"w{n}"], strict=True)
            x = [sum(map(math.prod, zip(x, w, strict=True))) + c for w, c in zip(columns, values[f"b{n}"], strict=True)]
            x = [max(v, 0.0) for v in x] if n < 3 else x
        logits.append(x[0])
    return logits


def by_autograd(p: Parameters, batch: Batch) -> dict[str, Tensor]:
    """Gradients of the mean loss in float64, by matrices of shares instead of bags."""
    q = {name: tensor.double().requires_grad_() for name, tensor in p.items()}

    def shares(values: Tensor, offsets: Tensor, columns: int) -> Tensor:
        matrix = torch.zeros(len(offsets) - 1, columns, dtype=torch.float64)
        for row in range(len(offsets) - 1):
            own = cut(values, offsets, row)
            for column in own:
                matrix[row, column] += 1 / len(own)
        return matrix

    histories = shares(torch.arange(len(batch.history)), batch.offsets, len(batch.history))
    of_entries = shares(batch.history_categories, batch.history_category_offsets, 8) @ q["category"]
    own = shares(batch.categories, batch.category_offsets, 8) @ q["category"]
    parts = [q["user"][batch.users], histories @ q["item"][batch.history], histories @ of_entries]
    x = torch.cat([*parts, q["item"][batch.items], own], 1)
    for n in (1, 2):
        x = torch.relu(x @ q[f"w{n}"] + q[f"b{n}"])
    torch.autograd.backward(binary_cross_entropy_with_logits((x @ q["w3"] + q["b3"])[:, 0], batch.labels.double()))
    return {name: tensor.grad for name, tensor in q.items() if tensor.grad is not None}


@pytest.mark.parametrize("case", BATCHES)
def test_logits_equal_the_description_by_loops(case: str) -> None:
    p, batch = parameters(), BATCHES[case]
    assert MODEL.logits(p, batch).tolist() == pytest.approx(by_loops(p, batch), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("case", BATCHES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_equal_float64_autograd(case: str, seed: int) -> None:
    p, batch = parameters(seed), BATCHES[case]
    logits, found = MODEL.gradients(p, batch)
    expected = by_autograd(p, batch)
    assert found.keys() == p.keys() == expected.keys()
    for name, gradient in expected.items():
        assert found[name].shape == p[name].shape
        assert (found[name] - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 1e-12, name
    assert torch.equal(logits, MODEL.logits(p, batch))


def test_one_sample_at_a_time_scores_as_many_do() -> None:
    p, batch = parameters(), BATCHES["random"]
    alone = []
    for b in range(len(batch)):
        low, high = int(batch.offsets[b]), int(batch.offsets[b + 1])
        entries = [cut(batch.history_categories, batch.history_category_offsets, entry) for entry in range(low, high)]
        own = cut(batch.categories, batch.category_offsets, b)
        columns = [*ragged([batch.history[low:high].tolist()]), *ragged([own]), *ragged(entries)]
        one = Batch(batch.users[b : b + 1], batch.items[b : b + 1], batch.labels[b : b + 1], *columns)
        alone.append(float(MODEL.logits(p, one)))
    assert alone == pytest.approx(MODEL.logits(p, batch).tolist(), rel=1e-5, abs=1e-6)


def test_a_model_without_categories_is_the_one_whose_category_weights_are_zeros() -> None:
    p, batch = dict(parameters()), BATCHES["random"]
    plain = EmbeddingMlp(hidden=(20, 10))
    p["w1"] = p["w1"].clone()
    p["w1"][16:24] = p["w1"][32:] = 0
    same = {**p, "w1": torch.cat([p["w1"][:16], p["w1"][24:32]])}
    torch.testing.assert_close(MODEL.logits(p, batch), plain.logits(same, batch), rtol=1e-5, atol=1e-5)


def test_shapes_and_initial_values_are_those_of_the_description() -> None:
    p = MODEL.init({USER: 41, ITEM: 31, CATEGORY: 2001}, 0, 0)
    shapes = {"user": (41, 8), "item": (31, 8), "category": (2001, 8)}
    shapes |= {"w1": (40, 20), "b1": (20,), "w2": (20, 10), "b2": (10,), "w3": (10, 1), "b3": (1,)}
    assert {name: tuple(tensor.shape) for name, tensor in p.items()} == shapes
    limit = (6 / 2008) ** 0.5
    assert bool((p["category"][0] == 0).all())
    assert 0.97 < p["category"][1:].std() / (limit / 3**0.5) < 1.03
    assert p["category"].abs().max() <= limit * (1 + 1e-6)
    nothing_yet = MODEL.init({USER: 1, ITEM: 1, CATEGORY: 1}, 0, 0)
    grown = MODEL.grown(nothing_yet, MODEL.limits({USER: 41, ITEM: 31, CATEGORY: 2001}), p_sizes(p), 0, 0)
    assert all(torch.equal(grown[name], p[name]) for name in MODEL.tables)


def p_sizes(p: Parameters) -> dict[str, int]:
    return {USER: len(p["user"]), ITEM: len(p["item"]), CATEGORY: len(p["category"])}


def test_settings_are_suited_to_the_stream_and_hidden_layers_follow_unless_they_are_given() -> None:
    plain = LearningSettings()
    assert plain.suited(False).base_model == EmbeddingMlp(hidden=(12, 6))
    assert plain.suited(True).base_model == CategoryEmbeddingMlp(hidden=(20, 10))
    given = LearningSettings(base_model=EmbeddingMlp(width=4, hidden=(12, 6)))
    assert given.suited(True).base_model == CategoryEmbeddingMlp(width=4, hidden=(12, 6))
    assert plain.suited(True).suited(True) == plain.suited(True)

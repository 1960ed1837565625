"""The meta generator around the GRU: what it looks up, its gradient, its training, and the model it generates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plain_generator as plain
import pytest
import torch
from torch import Tensor

from models.base_models.embedding_mlp import EmbeddingMlp
from models.meta_generators.generation import generate, grown_state, zero_state
from models.meta_generators.gradient import window_gradient
from models.meta_generators.lookups import LocalWindow, needed
from models.meta_generators.sheets import MLP, columns_of, from_sheets, grus, initial_weights, to_sheets
from models.meta_generators.training import Generator, Recipe, train_generator
from models.parameters import Parameters
from models.samples import Batch, Samples

MODEL = EmbeddingMlp()


def single(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in tensors.items()}


def batches_of(targets: Sequence[Samples]) -> list[Batch | None]:
    return [next(iter(target.batches(len(target)))) if len(target) else None for target in targets]


def gradient_of(
    weights: Tensor,
    hidden: dict[str, Tensor],
    window: Sequence[Parameters],
    targets: Sequence[Samples],
    residual: bool,
) -> Tensor:
    local = LocalWindow.of(window, MODEL.tables, hidden, targets)
    size = hidden["user"].shape[-1]
    batches = batches_of(local.targets)
    return window_gradient(weights, size, residual, local.sequences, window[-1], batches, MODEL)


def gradient_by_autograd(
    weights: Tensor,
    hidden: dict[str, Tensor],
    window: Sequence[Parameters],
    targets: Sequence[Samples],
    residual: bool,
) -> Tensor:
    leaf = weights.clone().requires_grad_()
    loss = plain.window_loss(leaf, hidden, window, batches_of(targets), residual)
    return torch.autograd.grad(loss, leaf)[0]


def test_sheets_hold_every_scalar_once_and_give_it_back() -> None:
    parameters = plain.window_of(1)[0]
    sheets = to_sheets(parameters, MODEL.tables)
    assert {name: tuple(sheet.shape) for name, sheet in sheets.items()} == {
        "user": (12, 8),
        "item": (15, 8),
        MLP: (1, 24 * 12 + 12 + 12 * 6 + 6 + 6 + 1),
    }
    for shuffled in (parameters, dict(reversed(parameters.items()))):
        back = from_sheets(to_sheets(shuffled, MODEL.tables), parameters, MODEL.tables)
        assert all(torch.equal(back[name], parameters[name]) for name in parameters)


def test_first_weights_keep_to_the_glorot_limits_of_each_tensor() -> None:
    parameters = single(plain.window_of(1)[0])
    drawn_weights = initial_weights(parameters, MODEL.tables, 4, False, np.random.default_rng(0))
    cells = grus(drawn_weights, columns_of(parameters, MODEL.tables), 4)
    mlp = dict(zip(["b1", "b2", "b3", "w1", "w2", "w3"], [12, 6, 1, 288, 72, 6], strict=True))
    first = 0
    for name, columns in {"user": 8, "item": 8, **mlp}.items():
        sheet = cells[name if name in cells else MLP]
        own = slice(0, columns) if name in cells else slice(first, first + columns)
        first += 0 if name in cells else columns
        parts = {
            (1, 4): torch.cat([sheet.gates[own, :, 0], sheet.candidate[own, :, 0]], dim=1),
            (4, 4): torch.cat([sheet.gates[own, :, 1:], sheet.candidate[own, :, 1:]], dim=1),
            (4, 1): sheet.output[own],
            (1, 1): sheet.bias[own],
        }
        for (fan_in, fan_out), drawn in parts.items():
            limit = (6 / (columns * (fan_in + fan_out))) ** 0.5
            assert float(drawn.abs().max()) <= limit * (1 + 1e-6)
            if drawn.numel() > 50:
                assert float(drawn.abs().max()) > 0.9 * limit
    assert first == 385


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="weights, not 7"):
        grus(torch.zeros(7), {"user": 8}, 4)


def test_rows_are_ordered_by_the_steps_they_need() -> None:
    asked = [[torch.tensor([3, 7, 7])], [torch.tensor([5]), torch.tensor([3])], [torch.tensor([9, 5])]]
    found = needed(11, asked)
    assert found.rows.tolist() == [5, 9, 3, 7]
    assert found.widths == [4, 3, 2]
    assert found.places[torch.tensor([5, 9, 3, 7])].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_gradient_of_looked_up_rows_equals_float64_autograd_through_whole_tables(
    length: int, residual: bool, dtype: torch.dtype, tolerance: float
) -> None:
    window = plain.window_of(length)
    hidden, weights = plain.state_of(window), plain.weights_of(window[0])
    targets = [plain.samples_of(7, seed=i) for i in range(length)]
    got = gradient_of(
        weights.to(dtype),
        {name: h.to(dtype) for name, h in hidden.items()},
        [{name: tensor.to(dtype) for name, tensor in snapshot.items()} for snapshot in window],
        targets,
        residual,
    )
    expected = gradient_by_autograd(weights, hidden, window, targets, residual)
    assert float((got.double() - expected).norm() / expected.norm()) <= tolerance
    columns = columns_of(window[0], MODEL.tables)
    for name, cell in grus(got.double(), columns, 4).items():
        for part, wanted in vars(grus(expected, columns, 4)[name]).items():
            error = (getattr(cell, part) - wanted).abs().max() / wanted.abs().max()
            assert float(error) <= tolerance, (name, part)


def test_a_period_without_samples_is_left_out_of_the_loss() -> None:
    window = plain.window_of(3)
    hidden, weights = plain.state_of(window), plain.weights_of(window[0])
    targets = [plain.samples_of(6, seed=1), Samples.empty(), plain.samples_of(5, seed=2)]
    got = gradient_of(weights, hidden, window, targets, residual=True)
    expected = gradient_by_autograd(weights, hidden, window, targets, residual=True)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 5, 1024])
def test_one_pass_of_k_plus_1_steps_equals_two_passes_over_whole_tables(chunk: int, residual: bool) -> None:
    outgoing, *window = plain.window_of(4)
    hidden, weights = plain.state_of(window), plain.weights_of(window[0])
    _, states = plain.run(weights, hidden, [outgoing, *window[:2]], residual)
    outputs, _ = plain.run(weights, states[0], window, residual)
    after, generated = generate(weights, hidden, outgoing, window, MODEL.tables, residual, chunk)
    for name, tensor in outputs[-1].items():
        torch.testing.assert_close(generated[name], tensor, rtol=0, atol=1e-13)
    for name, state in states[0].items():
        torch.testing.assert_close(after[name], state, rtol=0, atol=1e-13)


def test_while_the_window_grows_the_hidden_state_stays() -> None:
    window = plain.window_of(2)
    hidden, weights = zero_state(window[0], MODEL.tables, 4), plain.weights_of(window[0])
    after, generated = generate(weights, hidden, None, window, MODEL.tables, residual=False)
    outputs, _ = plain.run(weights, hidden, window, residual=False)
    assert all(not state.any() for state in after.values())
    torch.testing.assert_close(generated["item"], outputs[-1]["item"], rtol=0, atol=1e-13)


def test_rows_born_later_start_from_zeros_and_others_keep_their_state() -> None:
    small, large = plain.window_of(1, users=12)[0], plain.window_of(1, users=14)[0]
    hidden = plain.state_of([small])
    grown = grown_state(hidden, large, MODEL.tables)
    assert torch.equal(grown["user"][:12], hidden["user"])
    assert grown["user"].shape == (14, 8, 4)
    assert not grown["user"][12:].any()
    assert grown["item"] is hidden["item"]


def test_a_residual_generator_begins_as_the_newest_snapshot_to_the_bit() -> None:
    window = [single(dict(snapshot)) for snapshot in plain.window_of(3)]
    weights = initial_weights(window[0], MODEL.tables, 4, True, np.random.default_rng(2))
    _, generated = generate(weights, zero_state(window[0], MODEL.tables, 4), None, window, MODEL.tables, residual=True)
    assert all(torch.equal(generated[name], window[-1][name]) for name in window[-1])


def part_of(samples: Samples, start: int, stop: int) -> Batch:
    low, high = int(samples.offsets[start]), int(samples.offsets[stop])
    return Batch(
        samples.users[start:stop],
        samples.items[start:stop],
        samples.labels[start:stop],
        samples.history[low:high],
        samples.offsets[start : stop + 1] - low,
    )


SCHEDULE = [[(0, 3), (0, 2), (0, 3)], [(3, 4), (0, 2), (3, 6)], [(0, 3), (0, 2), (6, 7)]]
"""By hand, for 4, 2 and 7 samples in batches of 3: as many steps as the newest target has, shorter ones start over."""


def trained_plainly(
    weights: Tensor, hidden: dict[str, Tensor], window: Sequence[Parameters], targets: Sequence[Samples], recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """(weights, running average) after two periods with the same data, by autograd and `torch.optim.Adam`."""
    leaf, average, step = weights.clone().requires_grad_(), torch.zeros_like(weights), 0
    adam = torch.optim.Adam([leaf], lr=recipe.learning_rate)
    for _ in range(2):
        if recipe.average is None:
            adam = torch.optim.Adam([leaf], lr=recipe.learning_rate)
        for parts in SCHEDULE:
            batches = [part_of(target, *part) for target, part in zip(targets, parts, strict=True)]
            adam.zero_grad()
            plain.window_loss(leaf, hidden, window, batches, recipe.residual).backward()
            adam.step()
            step += 1
            now = leaf.detach().clone()
            average = now if recipe.average is None else average + (now - average) / min(recipe.average, step)
    return leaf.detach(), average


@pytest.mark.parametrize("average", [None, 4])
def test_two_periods_of_training_equal_autograd_and_adam_over_whole_tables(average: int | None) -> None:
    recipe = Recipe(hidden=4, residual=average is not None, learning_rate=1e-2, batch=3, average=average)
    window = plain.window_of(3)
    hidden, weights = plain.state_of(window), plain.weights_of(window[0])
    targets = [plain.samples_of(count, seed=count) for count in (4, 2, 7)]
    generator = Generator(weights, weights, torch.zeros(2, len(weights), dtype=torch.float64), 0, hidden)
    for _ in range(2):
        generator = train_generator(generator, recipe, window, targets, MODEL)
    expected, served = trained_plainly(weights, hidden, window, targets, recipe)
    assert generator.step == 2 * len(SCHEDULE)
    torch.testing.assert_close(generator.weights, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(generator.served, served, rtol=0, atol=1e-9)


def test_training_needs_one_period_per_snapshot() -> None:
    window = plain.window_of(2)
    weights = plain.weights_of(window[0])
    generator = Generator(weights, weights, torch.zeros(2, len(weights)), 0, zero_state(window[0], MODEL.tables, 4))
    recipe = Recipe(4, False, 1e-2, 3, None)
    with pytest.raises(ValueError, match="2 snapshots cannot be scored on 1 periods"):
        train_generator(generator, recipe, window, [plain.samples_of(3)], MODEL)


def test_a_newest_period_without_samples_leaves_the_weights_alone() -> None:
    window = plain.window_of(1)
    weights = plain.weights_of(window[0])
    generator = Generator(weights, weights, torch.zeros(2, len(weights)), 5, zero_state(window[0], MODEL.tables, 4))
    after = train_generator(generator, Recipe(4, True, 1e-2, 3, 60), window, [Samples.empty()], MODEL)
    assert after.step == 5
    assert torch.equal(after.weights, weights)
    assert torch.equal(after.served, weights)

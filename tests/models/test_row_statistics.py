"""The row-statistics generator and its method: gradients, the whole of it against the plain way, order, growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import plain_generator as plain
import plain_row_statistics as slow
import pytest
import torch
from row_trajectory import MODEL, PERIODS, PRETRAINED, closed, grown, leaves, run, snapshots
from torch import Tensor

from models import tree
from models.meta_generators.row_statistics import (
    RowGenerator,
    first_weights,
    generate,
    label_gradient,
)
from models.meta_generators.statistics import Statistics
from models.parameters import Parameters, sizes_of
from models.samples import Batch, Samples
from models.update_methods.row_statistics import RowStatistics

METHOD = RowStatistics(batch=5, average=4)


def weights_of(parameters: Parameters, seed: int = 3) -> Tensor:
    size = len(first_weights(parameters, MODEL.tables, Statistics.start(MODEL.tables.values()).features).weights)
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.3, size))


def batch_of(samples: Samples) -> Batch:
    return next(iter(samples.batches(len(samples))))


def as_plain(weights: Tensor, parameters: Parameters) -> dict[str, Tensor]:
    """ω as the plain way has it: A, B per table in the order of the model, then δ by name."""
    shapes = {name: (6, 2, parameters[name].shape[1]) for name in MODEL.tables}
    shapes |= {name: tuple(parameters[name].shape) for name in sorted(parameters) if name not in shapes}
    pieces, at = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        pieces[name] = weights[at : at + size].reshape(shape)
        at += size
    assert at == len(weights)
    return pieces


def test_the_default_model_has_577_weights() -> None:
    assert len(weights_of(snapshots()[0])) == 2 * 2 * 48 + 385


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_gradient_of_the_rows_looked_up_equals_float64_autograd(dtype: torch.dtype, tolerance: float) -> None:
    theta = plain.window_of(1)[0]
    periods = [plain.samples_of(20, seed=seed) for seed in (1, 2)]
    batch, weights = batch_of(plain.samples_of(9, seed=5)), weights_of(theta)
    features = {
        table: torch.tensor([slow.phi(periods, table, row) for row in range(len(theta[table]))], dtype=dtype)
        for table in MODEL.tables
    }
    own = {name: tensor.to(dtype) for name, tensor in theta.items()}
    got = label_gradient(weights.to(dtype), own, features, batch, MODEL)
    leaf = weights.clone().requires_grad_()
    loss = plain.loss(slow.generated(as_plain(leaf, theta), theta, periods), batch)
    (expected,) = torch.autograd.grad(loss, leaf)
    assert float((got.double() - expected).norm() / expected.norm()) <= tolerance
    for name, piece in as_plain(got.double(), theta).items():
        wanted = as_plain(expected, theta)[name]
        assert float((piece - wanted).abs().max() / wanted.abs().max()) <= tolerance, name


def test_generation_equals_the_formula_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.meta_generators.row_statistics.chunk_for", lambda device: 4)
    theta = {name: tensor.float() for name, tensor in plain.window_of(1)[0].items()}
    periods = [plain.samples_of(20, seed=seed) for seed in (1, 2)]
    statistics, weights = statistics_of(periods, theta), weights_of(theta)
    got = generate(weights.float(), statistics.features, theta, MODEL.tables)
    for name, expected in slow.generated(as_plain(weights, theta), theta, periods).items():
        torch.testing.assert_close(got[name].double(), expected, rtol=0, atol=2e-6)


def statistics_of(periods: Sequence[Samples], theta: Parameters) -> Statistics:
    return Statistics.over(periods, theta, MODEL.tables)


def test_it_begins_as_the_newest_snapshot_to_the_bit() -> None:
    theta = snapshots()[0]
    statistics = statistics_of([plain.samples_of(20)], theta)
    generator = first_weights(theta, MODEL.tables, statistics.features)
    generated = generate(generator.served, statistics.features, theta, MODEL.tables)
    assert all(torch.equal(generated[name], theta[name]) for name in theta)


def test_the_whole_method_equals_the_plain_way() -> None:
    """From the algorithm's text: φ_t and Θ_t train, φ_{t+1} and Θ_{t+1} generate, Adam and average carry on."""
    thetas, periods = snapshots(), closed()
    plainly = slow.PlainRowStatistics(thetas[PRETRAINED - 1], METHOD.batch, METHOD.average)
    results = run(METHOD, thetas, periods)
    for t, (state, candidate) in zip(range(PRETRAINED, PERIODS), results[1:], strict=True):
        plainly.train(grown(thetas[t - 1], thetas[t]), periods[:t], periods[t])
        assert state.step == plainly.step
        for name, piece in as_plain(state.served.double(), thetas[t]).items():
            torch.testing.assert_close(piece, plainly.served[name], rtol=0, atol=2e-4)
        for name, expected in slow.generated(plainly.served, thetas[t], periods[: t + 1]).items():
            torch.testing.assert_close(candidate[name].double(), expected, rtol=0, atol=2e-4)


def test_the_closed_period_is_trained_on_with_the_statistics_before_it() -> None:
    thetas, periods = snapshots(), closed()
    state = run(METHOD, thetas, periods[:PRETRAINED])[0][0]
    before = grown(thetas[PRETRAINED - 1], thetas[PRETRAINED])
    trained = METHOD.train(state, MODEL, [before], [periods[PRETRAINED]], 0, 4)
    told_too_early = replace(state, statistics=trained.statistics)
    other = METHOD.train(told_too_early, MODEL, [before], [periods[PRETRAINED]], 0, 4)
    assert not torch.equal(other.weights, trained.weights)
    assert (state.statistics.periods, trained.statistics.periods) == (PRETRAINED, PRETRAINED + 1)


def test_the_next_model_is_generated_with_the_statistics_after_the_closed_period() -> None:
    thetas, periods = snapshots(), closed()
    state, candidate = run(METHOD, thetas, periods)[1]
    newest = thetas[PRETRAINED]
    expected = generate(state.served, statistics_of(periods[: PRETRAINED + 1], newest).features, newest, MODEL.tables)
    assert all(torch.equal(candidate[name], expected[name]) for name in newest)


def test_nothing_but_the_snapshot_serves_before_the_generator_was_trained() -> None:
    thetas = snapshots()
    (_, first), (_, second), *_ = run(METHOD, thetas, closed())
    assert all(torch.equal(first[name], thetas[PRETRAINED - 1][name]) for name in first)
    assert not torch.equal(second["item"], thetas[PRETRAINED]["item"])


def test_a_row_born_later_and_the_cold_row_are_moved_as_rows_without_statistics_are() -> None:
    thetas, periods = snapshots(), closed()
    state, _ = run(METHOD, thetas, periods)[-1]
    larger = {**thetas[-1], "item": torch.cat([thetas[-1]["item"], torch.full((2, 8), 0.3)])}
    statistics = state.statistics.grown(sizes_of(larger, MODEL.tables))
    moved = generate(state.served, statistics.features, larger, MODEL.tables)["item"]
    matrix = as_plain(state.served, larger)["item"]
    scale, shift = matrix[0] + matrix[3]
    torch.testing.assert_close(moved[-1], 0.3 * (1 + scale) + shift)
    torch.testing.assert_close(moved[0], larger["item"][0] * (1 + scale) + shift)


def test_a_period_without_samples_leaves_the_weights_alone_and_is_counted() -> None:
    thetas = snapshots()
    state = run(METHOD, thetas, closed())[-1][0]
    after = METHOD.train(state, MODEL, [thetas[-1]], [Samples.empty()], 0, 9)
    assert (after.step, after.statistics.periods) == (state.step, PERIODS + 1)
    assert torch.equal(after.served, state.served)


def test_inputs_are_left_as_they_were() -> None:
    thetas, periods = snapshots(), closed()
    states = [state for state, _ in run(METHOD, thetas, periods)]
    kept = [leaves(state) for state in states]
    METHOD.train(states[-1], MODEL, [thetas[-1]], [periods[-1]], 0, 9)
    METHOD.candidate(states[-1], MODEL, None, [thetas[-1]])
    assert [leaves(state) for state in states] == kept
    for theta, fresh in zip(thetas, snapshots(), strict=True):
        assert all(torch.equal(theta[name], fresh[name]) for name in theta)


def test_a_state_comes_back_from_its_leaves() -> None:
    state = run(METHOD, snapshots(), closed())[-1][0]
    again = tree.restore(RowGenerator, tree.flatten(state))
    assert leaves(again) == leaves(state)


def test_weights_of_another_model_are_refused() -> None:
    theta = snapshots()[0]
    with pytest.raises(ValueError, match="has 577 weights, not 7"):
        generate(torch.zeros(7), statistics_of([], theta).features, theta, MODEL.tables)


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"average": 0}, {"learning_rate": 0.0}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        RowStatistics(**wrong)  # type: ignore[arg-type]

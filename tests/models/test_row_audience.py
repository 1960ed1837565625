"""Audiences, and the method that moves items by them: the whole of it against the plain way, order, growth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import plain_audience as slow
import plain_generator as plain
import plain_row_statistics as rows_of
import pytest
import torch
from row_trajectory import MODEL, PERIODS, PRETRAINED, closed, grown, leaves, run, snapshots
from torch import Tensor

from models import tree
from models.base_models.matrix_factorization import MatrixFactorization
from models.meta_generators.audience import Audience
from models.meta_generators.row_statistics import generate, label_gradient
from models.meta_generators.statistics import Statistics
from models.parameters import Parameters
from models.samples import Batch, Samples
from models.update_methods.row_audience import AudienceGenerator, RowAudience, features_of

METHOD = RowAudience(batch=5, average=4)
WIDTHS = {"user": 6, "item": 22}
EVERYTHING = slice(None)


def audience_of(periods: Sequence[Samples], theta: Parameters) -> Audience:
    return Audience.over(periods, theta, MODEL.tables)


def entering(thetas: Sequence[Parameters]) -> list[Parameters]:
    """The snapshot that each period enters with: what pretraining ended with, then the one before the period."""
    later = [grown(thetas[t - 1], thetas[t]) for t in range(PRETRAINED, PERIODS)]
    return [thetas[PRETRAINED - 1]] * PRETRAINED + later


def pieces(weights: Tensor, theta: Parameters) -> dict[str, Tensor]:
    """ω as the plain way has it: A, B per table in the order of the model, then δ by name."""
    shapes = {name: (WIDTHS[name], 2, 8) for name in MODEL.tables}
    shapes |= {name: tuple(theta[name].shape) for name in sorted(theta) if name not in shapes}
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = torch.split(weights, sizes)
    return {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def test_an_audience_by_hand() -> None:
    """User 2 likes item 5 after items 1 and 3; user 4, who has no history, likes it as well; user 1 does not."""
    theta = snapshots()[0]
    samples = Samples(
        users=torch.tensor([2, 4, 1]),
        items=torch.tensor([5, 5, 5]),
        labels=torch.tensor([1.0, 1.0, 0.0]),
        history=torch.tensor([1, 3, 7]),
        offsets=torch.tensor([0, 2, 2, 3]),
        seen_users=torch.ones(3, dtype=torch.bool),
        seen_items=torch.ones(3, dtype=torch.bool),
    )
    got = audience_of([samples], theta).features(torch.tensor([5]))[0]
    user, item = theta["user"], theta["item"]
    torch.testing.assert_close(got[:8], (user[2] + user[4]) / 3)
    torch.testing.assert_close(got[8:], (item[1] + item[3]) / 2 / 3)


def test_audiences_equal_those_counted_sample_by_sample() -> None:
    theta, periods = snapshots()[-1], closed()
    got = audience_of(periods, theta).features(EVERYTHING)
    expected = [slow.audience(periods, [theta] * PERIODS, item) for item in range(len(theta["item"]))]
    torch.testing.assert_close(got.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-6)


def test_whoever_was_never_liked_and_the_cold_row_have_no_audience() -> None:
    disliked = replace(plain.samples_of(40), labels=torch.zeros(40))
    assert not audience_of([disliked], snapshots()[0]).features(EVERYTHING).any()
    assert not audience_of(closed(), snapshots()[-1]).features(torch.tensor([0])).any()


def test_an_audience_reaches_back_so_many_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likes of the past count as `MEMORY` at most, however many they were; below that nothing is forgotten."""
    monkeypatch.setattr("models.meta_generators.audience.MEMORY", 10.0)
    theta = snapshots()[0]
    crowd = replace(plain.samples_of(30), items=torch.full((30,), 3), labels=torch.ones(30))
    few = replace(plain.samples_of(5, seed=4), items=torch.full((5,), 3), labels=torch.ones(5))
    mean = torch.stack([slow.shown(theta, crowd, n) for n in range(30)]).mean(0)
    late = torch.stack([slow.shown(theta, few, n) for n in range(5)]).sum(0)
    got = audience_of([crowd, few], theta)
    torch.testing.assert_close(
        got.features(torch.tensor([3]))[0].double(), (10 * mean + late) / 15 / (1.1), rtol=0, atol=2e-6
    )
    assert got.likes.max() == 10
    assert torch.equal(got.after(Samples.empty(), theta, MODEL.tables).sums, got.sums)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_gradient_equals_float64_autograd(dtype: torch.dtype, tolerance: float) -> None:
    theta = plain.window_of(1)[0]
    periods = [plain.samples_of(20, seed=seed) for seed in (1, 2)]
    batch = next(iter(plain.samples_of(9, seed=5).batches(9)))
    count = 2 * 8 * (6 + 22) + 385
    weights = torch.from_numpy(np.random.default_rng(3).normal(0, 0.3, count))

    def known(before: Sequence[Samples], table: str, row: int) -> list[float]:
        more = slow.audience(before, [theta] * len(before), row) if table == "item" else []
        return rows_of.phi(before, table, row) + more

    features = {
        table: torch.tensor([known(periods, table, row) for row in range(len(theta[table]))], dtype=dtype)
        for table in MODEL.tables
    }
    own = {name: tensor.to(dtype) for name, tensor in theta.items()}
    got = label_gradient(weights.to(dtype), own, features, batch, MODEL)
    leaf = weights.clone().requires_grad_()
    loss = plain.loss(rows_of.generated(pieces(leaf, theta), theta, periods, known), as_float64(batch))
    (expected,) = torch.autograd.grad(loss, leaf)
    for name, piece in pieces(got.double(), theta).items():
        wanted = pieces(expected, theta)[name]
        assert float((piece - wanted).abs().max() / wanted.abs().max()) <= tolerance, name


def as_float64(batch: Batch) -> Batch:
    return replace(batch, labels=batch.labels.double())


def test_the_whole_method_equals_the_plain_way() -> None:
    """What was known before a period and Θ before it train, what is known after it and Θ after it generate."""
    thetas, periods = snapshots(), closed()
    enters = entering(thetas)

    def known(before: Sequence[Samples], table: str, row: int) -> list[float]:
        more = slow.audience(before, enters[: len(before)], row) if table == "item" else []
        return rows_of.phi(before, table, row) + more

    plainly = rows_of.PlainRowStatistics(thetas[PRETRAINED - 1], METHOD.batch, METHOD.average, known, WIDTHS)
    results = run(METHOD, thetas, periods)
    for t, (state, candidate) in zip(range(PRETRAINED, PERIODS), results[1:], strict=True):
        plainly.train(enters[t], periods[:t], periods[t])
        for name, piece in pieces(state.served.double(), thetas[t]).items():
            torch.testing.assert_close(piece, plainly.served[name], rtol=0, atol=2e-4)
        for name, expected in rows_of.generated(plainly.served, thetas[t], periods[: t + 1], known).items():
            torch.testing.assert_close(candidate[name].double(), expected, rtol=0, atol=2e-4)


def test_the_closed_period_is_trained_on_with_the_audiences_before_it() -> None:
    thetas, periods = snapshots(), closed()
    state = run(METHOD, thetas, periods[:PRETRAINED])[0][0]
    before = grown(thetas[PRETRAINED - 1], thetas[PRETRAINED])
    trained = METHOD.train(state, MODEL, [before], [periods[PRETRAINED]], 0, 4)
    told_too_early = replace(state, audience=trained.audience)
    other = METHOD.train(told_too_early, MODEL, [before], [periods[PRETRAINED]], 0, 4)
    assert not torch.equal(other.weights, trained.weights)


def test_it_begins_as_the_newest_snapshot_to_the_bit() -> None:
    thetas, periods = snapshots(), closed()
    state, candidate = run(METHOD, thetas, periods[:PRETRAINED])[0]
    newest = thetas[PRETRAINED - 1]
    generated = generate(state.served, features_of(state.statistics, state.audience), newest, MODEL.tables)
    assert all(torch.equal(generated[name], newest[name]) for name in newest)
    assert all(torch.equal(candidate[name], newest[name]) for name in newest)


def test_an_item_that_is_only_looked_back_on_changes_nothing_that_is_stored() -> None:
    theta = snapshots()[0]
    before = audience_of([plain.samples_of(30, seed=1)], theta)
    samples = replace(plain.samples_of(30, seed=2), items=torch.full((30,), 5), labels=torch.ones(30))
    after = before.after(samples, theta, MODEL.tables)
    assert (after.sums != before.sums).any(1).nonzero()[:, 0].tolist() == [5]


def test_inputs_are_left_as_they_were_and_a_state_comes_back_from_its_leaves() -> None:
    thetas, periods = snapshots(), closed()
    states = [state for state, _ in run(METHOD, thetas, periods)]
    kept = [leaves(state) for state in states]
    METHOD.train(states[-1], MODEL, [thetas[-1]], [periods[-1]], 0, 9)
    METHOD.candidate(states[-1], MODEL, None, [thetas[-1]])
    assert [leaves(state) for state in states] == kept
    assert leaves(tree.restore(AudienceGenerator, tree.flatten(states[-1]))) == kept[-1]


def test_every_table_of_users_and_items_shows_a_user() -> None:
    """Matrix factorization has two tables for each: factors of width 8, and biases."""
    base, sizes = MatrixFactorization(), {"user": 12, "item": 15}
    theta = base.init(sizes, 0, 0)
    width = sum(theta[table].shape[1] for table in base.tables)
    audience = Audience.over([plain.samples_of(30)], theta, base.tables)
    statistics = Statistics.over([plain.samples_of(30)], theta, base.tables)
    features = features_of(statistics, audience)
    assert features("item", EVERYTHING).shape == (15, 6 + width)
    assert features("user", EVERYTHING).shape == (12, 6)


def test_a_base_model_without_item_tables_has_no_audiences() -> None:
    theta = {"user": torch.ones(12, 8)}
    audience = Audience.over([plain.samples_of(30)], theta, {"user": "user"})
    assert len(audience.likes) == 1
    assert not audience.likes.any()

"""What serves next: `iu`, `asmg` and `asmg-averaged` as the learner calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plain_generator as plain
import pytest
import torch
from torch import Tensor

from models import tree
from models.adam import Moments
from models.base_models.embedding_mlp import EmbeddingMlp
from models.meta_generators.training import Generator
from models.parameters import Parameters
from models.samples import Samples
from models.training import Snapshot
from models.update_methods.asmg import Asmg, AsmgAveraged
from models.update_methods.iu import Iu

MODEL = EmbeddingMlp()
GENERATED = [Asmg(batch=4), AsmgAveraged(batch=4)]
PERIODS = 6


def snapshots() -> list[Parameters]:
    return [{name: tensor.float() for name, tensor in snapshot.items()} for snapshot in plain.window_of(PERIODS)]


def first(thetas: Sequence[Parameters]) -> Snapshot:
    return Snapshot(thetas[0], Moments.start(thetas[0], MODEL.tables), {}, 0)


def periods() -> list[Samples]:
    return [plain.samples_of(count, seed=count) for count in (9, 13, 4, 11, 8, 10)]


def run(
    method: Any, thetas: Sequence[Parameters], samples: Sequence[Samples], seed: int = 0, upto: int = PERIODS
) -> list[tuple[Any, Parameters]]:
    """(State, candidate) after each of the first `upto` periods, called as models/learner.py does."""
    state, results = method.start(MODEL, first(thetas), (), seed), []
    for t in range(upto):
        results.append(advance(method, state, thetas, samples, t, seed))
        state = results[-1][0]
    return results


def advance(
    method: Any, state: Any, thetas: Sequence[Parameters], samples: Sequence[Samples], t: int, seed: int = 0
) -> tuple[Any, Parameters]:
    """Period t closes; thetas[t] is the base model after it."""
    before = thetas[max(0, t - 3) : t]
    if before:
        state = method.train(state, MODEL, before, samples[t + 1 - len(before) : t + 1], seed, t)
    window = [*before, thetas[t]][-3:]
    candidate: tuple[Any, Parameters] = method.candidate(state, MODEL, before[0] if len(before) == 3 else None, window)
    return candidate


def same(left: Parameters, right: Parameters) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def leaves(state: Generator) -> dict[str, Any]:
    return {p: v.tolist() if isinstance(v, Tensor) else v for p, v in tree.flatten(state).items()}


def test_iu_serves_the_newest_snapshot() -> None:
    thetas = snapshots()
    assert all(same(served, theta) for (_, served), theta in zip(run(Iu(), thetas, periods()), thetas, strict=True))


@pytest.mark.parametrize("method", GENERATED)
def test_nothing_random_serves_before_the_generator_was_trained(method: Asmg | AsmgAveraged) -> None:
    thetas = snapshots()
    (_, first), (_, second), *_ = run(method, thetas, periods())
    assert same(first, thetas[0])
    assert not same(second, thetas[1])


@pytest.mark.parametrize("method", GENERATED)
def test_another_seed_gives_another_candidate(method: Asmg | AsmgAveraged) -> None:
    assert not same(*(run(method, snapshots(), periods(), seed)[-1][1] for seed in (7, 8)))


@pytest.mark.parametrize("method", GENERATED)
def test_the_hidden_state_moves_on_only_when_the_window_slides(method: Asmg | AsmgAveraged) -> None:
    states = [state for state, _ in run(method, snapshots(), periods())]
    moved = [bool(state.hidden["item"].any()) for state in states]
    assert moved == [False, False, False, True, True, True]


@pytest.mark.parametrize("method", GENERATED)
def test_the_hidden_state_after_a_slide_is_one_step_from_the_snapshot_that_left(method: Asmg | AsmgAveraged) -> None:
    thetas = snapshots()
    before, (after, served) = run(method, thetas, periods())[2:4]
    _, states = plain.run(after.served, before[0].hidden, [thetas[0]], method.recipe.residual)
    outputs, _ = plain.run(after.served, states[0], thetas[1:4], method.recipe.residual)
    for name, state in states[0].items():
        torch.testing.assert_close(after.hidden[name], state, rtol=0, atol=1e-6)
    for name, tensor in outputs[-1].items():
        torch.testing.assert_close(served[name], tensor, rtol=0, atol=2e-6)


@pytest.mark.parametrize("method", GENERATED)
def test_tables_may_grow_in_any_period(method: Asmg | AsmgAveraged) -> None:
    thetas, samples = snapshots(), periods()
    state = run(method, thetas, samples, upto=4)[-1][0]
    wider = [{**theta, "user": torch.cat([theta["user"], torch.ones(5, 8)])} for theta in thetas]
    state, served = advance(method, state, wider, samples, 4)
    assert served["user"].shape == (17, 8)
    assert state.hidden["user"].shape == (17, 8, 4)
    narrow = advance(method, run(method, thetas, samples, upto=4)[-1][0], thetas, samples, 4)[1]
    torch.testing.assert_close(served["user"][:12], narrow["user"], rtol=0, atol=1e-6)


def test_a_method_with_a_shorter_window_than_another_sees_only_its_own() -> None:
    method = AsmgAveraged(window=2, batch=4)
    thetas, samples = snapshots(), periods()
    state, _ = run(method, thetas, samples, upto=3)[-1]
    got_state, got = advance(method, state, thetas, samples, 3)
    trained = method.train(state, MODEL, thetas[1:3], samples[2:4], 0, 3)
    want_state, want = method.candidate(trained, MODEL, thetas[1], thetas[2:4])
    assert leaves(got_state) == leaves(want_state)
    assert same(got, want)


def test_the_average_of_the_first_step_is_that_step_and_later_ones_lag_behind() -> None:
    thetas, samples = snapshots(), [plain.samples_of(4, seed=i) for i in range(PERIODS)]
    states = [state for state, _ in run(AsmgAveraged(batch=4), thetas, samples)]
    assert [state.step for state in states] == [0, 1, 2, 3, 4, 5]
    assert torch.equal(states[1].served, states[1].weights)
    expected = states[1].weights
    for step in (2, 3, 4, 5):
        expected = expected + (states[step].weights - expected) / step
        torch.testing.assert_close(states[step].served, expected, rtol=0, atol=1e-6)


def test_the_paper_serves_its_last_weights() -> None:
    for state, _ in run(Asmg(batch=4), snapshots(), periods()):
        assert torch.equal(state.served, state.weights)


@pytest.mark.parametrize("method", [Asmg(batch=8), AsmgAveraged(batch=8)])
def test_training_lowers_the_loss_it_is_trained_on(method: Asmg | AsmgAveraged) -> None:
    thetas, targets = snapshots()[:3], [plain.samples_of(32, seed=i) for i in range(3)]
    state = method.start(MODEL, first(thetas), (), 0)
    for _ in range(10):
        state = method.train(state, MODEL, thetas, targets, 0, 1)
    _, served = method.candidate(state, MODEL, None, thetas)
    assert float(plain.loss(served, targets[-1])) < 0.9 * float(plain.loss(thetas[-1], targets[-1]))


@pytest.mark.parametrize("kind", [Asmg, AsmgAveraged])
@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"hidden": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"learning_rate": 1.0}]
)
def test_settings_that_cannot_work_are_refused(kind: type[Asmg | AsmgAveraged], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)


def test_an_average_over_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="average must be at least 1"):
        AsmgAveraged(average=0)

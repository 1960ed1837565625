"""Training on compact tables against what it stands for: dense Adam over whole tables, by autograd, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models import tree
from models.adam import Moments
from models.base_models.embedding_mlp import EmbeddingMlp
from models.parameters import ITEM, USER
from models.samples import Samples
from models.training import Snapshot, train

MODEL = EmbeddingMlp()
RATE, BATCH = 3e-3, 16
USER_ROWS, ITEM_ROWS = 41, 31
SIZES, FEW = {USER: USER_ROWS, ITEM: ITEM_ROWS}, {USER: 20, ITEM: 20}


def period(
    seed: int,
    steps: int,
    users: Sequence[int] = range(1, USER_ROWS),
    items: Sequence[int] = range(1, ITEM_ROWS),
    short_by: int = 0,
) -> Samples:
    """Samples that look up only these rows; the last of `steps` batches is `short_by` samples short."""
    draw = np.random.default_rng(seed)
    n = steps * BATCH - short_by
    offsets = np.concatenate([[0], np.cumsum(draw.integers(0, 6, n))])
    user, item = draw.choice(users, n), draw.choice(items, n)
    return Samples(
        users=torch.from_numpy(user.astype(np.int64)),
        items=torch.from_numpy(item.astype(np.int64)),
        labels=torch.from_numpy(((user * 7 + item * 3 + draw.integers(0, 4, n)) % 5 < 2).astype(np.float32)),
        history=torch.from_numpy(draw.choice(items, offsets[-1]).astype(np.int64)),
        offsets=torch.from_numpy(offsets),
        seen_users=torch.ones(n, dtype=torch.bool),
        seen_items=torch.ones(n, dtype=torch.bool),
    )


def start(seed: int = 0, dtype: torch.dtype = torch.float32) -> Snapshot:
    snapshot = Snapshot.start(MODEL, SIZES, seed, 0)
    parameters = {name: tensor.to(dtype) for name, tensor in snapshot.parameters.items()}
    return replace(snapshot, parameters=parameters, moments=Moments.start(parameters, MODEL.tables))


class DenseAdam:
    """`torch.optim.Adam` in float64 over the whole tables, gradients by autograd, histories by a matrix of counts."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.p = {name: tensor.double().clone().requires_grad_() for name, tensor in snapshot.parameters.items()}
        self.optimizer = torch.optim.Adam(list(self.p.values()), lr=RATE)

    def train(self, samples: Samples) -> None:
        for batch in samples.batches(BATCH):
            owners = torch.repeat_interleave(torch.arange(len(batch)), batch.offsets.diff())
            counts = torch.zeros(len(batch), len(self.p["item"]), dtype=torch.float64)
            counts.index_put_((owners, batch.history), torch.ones(len(owners), dtype=torch.float64), accumulate=True)
            pooled = counts @ self.p["item"] / counts.sum(1, keepdim=True).clamp(min=1)
            x = torch.cat([self.p["user"][batch.users], pooled, self.p["item"][batch.items]], 1)
            for n in (1, 2):
                x = torch.relu(x @ self.p[f"w{n}"] + self.p[f"b{n}"])
            logits = (x @ self.p["w3"] + self.p["b3"])[:, 0]
            self.optimizer.zero_grad()
            torch.autograd.backward(binary_cross_entropy_with_logits(logits, batch.labels.double()))
            self.optimizer.step()

    def distance(self, snapshot: Snapshot) -> float:
        return max(float((self.p[name] - tensor).detach().abs().max()) for name, tensor in snapshot.parameters.items())


def tensors(snapshot: Snapshot) -> dict[str, Tensor]:
    return {path: leaf for path, leaf in tree.flatten(snapshot).items() if isinstance(leaf, Tensor)}


def same_bytes(one: Snapshot, other: Snapshot) -> bool:
    left, right = tree.flatten(one), tree.flatten(other)
    return left.keys() == right.keys() and all(
        torch.equal(value, right[path]) if isinstance(value, Tensor) else value == right[path]  # type: ignore[arg-type]
        for path, value in left.items()
    )


LOW, HIGH = range(1, 16), range(16, 31)


@pytest.mark.parametrize("seed", [0, 1])
def test_training_equals_dense_adam_after_240_steps(seed: int) -> None:
    """Rows are away for 40 to 160 steps, begin late, and come back; in float32 against float64."""
    snapshot = start(seed)
    dense = DenseAdam(snapshot)
    for number, (users, items) in enumerate(
        [(LOW, LOW), (LOW, HIGH), (HIGH, HIGH), (HIGH, HIGH), (HIGH, LOW), (LOW, LOW)]
    ):
        samples = period(10 * seed + number, 40, users, items)
        snapshot = train(snapshot, MODEL, samples, RATE, BATCH)
        dense.train(samples)
    assert snapshot.moments.step == 240
    assert dense.distance(snapshot) <= 1e-5


def test_training_equals_dense_adam_over_gaps_of_any_length() -> None:
    """After every period, while rows are away for 1 to 660 steps: longer than momentum is remembered.

    In float64, so that what is compared is the closed form and not the rounding of 1,000 steps.
    """
    snapshot = start(dtype=torch.float64)
    dense = DenseAdam(snapshot)
    away = [(LOW, LOW), (HIGH, HIGH), (LOW, HIGH), (LOW, HIGH), (LOW, HIGH), (HIGH, LOW), (HIGH, HIGH), (LOW, LOW)]
    for number, ((users, items), steps) in enumerate(zip(away, [1, 5, 210, 220, 230, 100, 1, 50], strict=True)):
        samples = period(number, steps, users, items, short_by=7)
        snapshot = train(snapshot, MODEL, samples, RATE, BATCH)
        dense.train(samples)
        assert dense.distance(snapshot) <= 1e-7, f"period {number}"


def test_a_first_step_moves_each_weight_by_the_rate_against_its_gradient() -> None:
    """Adam's first step is lr · g / (|g| + eps), whatever the size of g; a row without gradient stays."""
    before = start(dtype=torch.float64)
    samples = period(3, 1, LOW, LOW)
    dense = DenseAdam(before)
    dense.train(samples)
    after = train(before, MODEL, samples, RATE, BATCH)
    for name, weights in before.parameters.items():
        g = dense.p[name].grad
        assert g is not None
        torch.testing.assert_close(after.parameters[name], weights - RATE * g / (g.abs() + 1e-8), rtol=0, atol=1e-12)
    assert torch.equal(after.parameters["user"][16:], before.parameters["user"][16:])


def test_training_leaves_its_arguments_as_they_were() -> None:
    snapshot = train(start(), MODEL, period(0, 20), RATE, BATCH)
    samples = period(1, 20, LOW, LOW)
    kept = {path: tensor.clone() for path, tensor in tensors(snapshot).items()}
    kept_samples = {path: leaf.clone() for path, leaf in tree.flatten(samples).items() if isinstance(leaf, Tensor)}
    train(snapshot, MODEL, samples, RATE, BATCH)
    assert all(torch.equal(tensor, kept[path]) for path, tensor in tensors(snapshot).items())
    assert all(torch.equal(tree.flatten(samples)[path], tensor) for path, tensor in kept_samples.items())  # type: ignore[arg-type]


def test_same_data_gives_the_same_bytes() -> None:
    def run() -> Snapshot:
        return train(train(start(), MODEL, period(0, 30, LOW), RATE, BATCH), MODEL, period(1, 30, HIGH), RATE, BATCH)

    assert same_bytes(run(), run())


def test_a_snapshot_taken_apart_and_put_together_trains_on_to_the_same_bytes() -> None:
    snapshot = train(start(), MODEL, period(0, 30, LOW), RATE, BATCH)
    restored = tree.restore(Snapshot, tree.flatten(snapshot))
    later = period(1, 30, HIGH)
    assert same_bytes(train(snapshot, MODEL, later, RATE, BATCH), train(restored, MODEL, later, RATE, BATCH))


def test_the_cold_row_stays_zero_and_gathers_no_moments() -> None:
    snapshot = start()
    for number in range(3):
        snapshot = train(snapshot, MODEL, period(number, 20), RATE, BATCH)
    for table in MODEL.tables:
        parts = (snapshot.parameters, snapshot.moments.first, snapshot.moments.second, snapshot.moments.stands)
        assert all(bool((part[table][0] == 0).all()) for part in parts)
        assert all(bool((part[table][1:] != 0).any()) for part in parts)


@pytest.mark.parametrize("column", ["users", "items", "history"])
@pytest.mark.parametrize("row", [0, -1, 10_000])
def test_a_sample_of_a_row_that_cannot_be_trained_is_refused(column: str, row: int) -> None:
    samples = period(0, 2)
    changed = getattr(samples, column).clone()
    changed[3] = row
    snapshot = start()
    kept = {path: tensor.clone() for path, tensor in tensors(snapshot).items()}
    with pytest.raises(ValueError, match="user" if column == "users" else "item"):
        train(snapshot, MODEL, replace(samples, **{column: changed}), RATE, BATCH)
    assert all(torch.equal(tensor, kept[path]) for path, tensor in tensors(snapshot).items())


def test_a_row_at_rest_changes_nothing_that_is_stored() -> None:
    """Only then may a store keep its block: no parameter, moment or step of it is rewritten."""
    snapshot = train(start(), MODEL, period(0, 20), RATE, BATCH)
    for number in (1, 2):
        snapshot = train(snapshot, MODEL, period(number, 210, HIGH, HIGH), RATE, BATCH)
    later = train(snapshot, MODEL, period(3, 50, HIGH, HIGH), RATE, BATCH)
    for path, tensor in tensors(later).items():
        if path.rsplit(".", 1)[-1] in MODEL.tables:
            assert torch.equal(tensor[LOW.start : LOW.stop], tensors(snapshot)[path][LOW.start : LOW.stop]), path
            assert not torch.equal(tensor[HIGH.start : HIGH.stop], tensors(snapshot)[path][HIGH.start : HIGH.stop])


def test_a_row_that_still_moves_changes_only_its_parameters() -> None:
    before = train(start(), MODEL, period(0, 20), RATE, BATCH)
    after = train(before, MODEL, period(1, 20, HIGH, HIGH), RATE, BATCH)
    assert bool((after.parameters["user"][1:16] != before.parameters["user"][1:16]).any(1).all())
    for old, new in ((before.moments.first, after.moments.first), (before.moments.second, after.moments.second)):
        assert torch.equal(old["user"][1:16], new["user"][1:16])


def test_rows_that_nobody_looks_up_change_no_byte_of_the_others() -> None:
    small = large = start()
    for number in range(3):
        large = large.grown(MODEL, {USER: 100 * (number + 1), ITEM: 500}, seed=0)
        small, large = (train(s, MODEL, period(number, 20), RATE, BATCH) for s in (small, large))
    for path, tensor in tensors(small).items():
        assert torch.equal(tensors(large)[path][: len(tensor)], tensor), path


def test_a_row_born_late_has_the_value_and_the_training_of_one_drawn_at_the_start() -> None:
    """The table is longer from the beginning, or grows just before the row is first looked up: same bytes."""
    early = Snapshot.start(MODEL, FEW, 4, 1).grown(MODEL, SIZES, 4)
    late = Snapshot.start(MODEL, FEW, 4, 1)
    first, second = period(0, 20, LOW, LOW), period(1, 20)
    early, late = (train(s, MODEL, first, RATE, BATCH) for s in (early, late))
    assert len(late.parameters["user"]) == 20
    late = late.grown(MODEL, SIZES, 4)
    assert same_bytes(early, late)
    assert same_bytes(train(early, MODEL, second, RATE, BATCH), train(late, MODEL, second, RATE, BATCH))


def test_older_parameters_grow_with_the_initial_values_of_rows_born_after_them() -> None:
    begun = Snapshot.start(MODEL, FEW, 4, 1)
    trained = train(begun, MODEL, period(0, 20, LOW, LOW), RATE, BATCH).grown(MODEL, SIZES, 4)
    older = trained.grow_parameters(MODEL, begun.parameters, SIZES, 4)
    assert torch.equal(older["user"][:20], begun.parameters["user"])
    assert torch.equal(older["user"][20:], trained.parameters["user"][20:])


def test_a_period_without_samples_changes_nothing() -> None:
    snapshot = train(start(), MODEL, period(0, 5), RATE, BATCH)
    assert same_bytes(train(snapshot, MODEL, Samples.empty(), RATE, BATCH), snapshot)


def test_a_period_without_histories_is_trained() -> None:
    samples = period(0, 3)
    bare = replace(samples, history=samples.history[:0], offsets=torch.zeros_like(samples.offsets))
    snapshot = start()
    dense = DenseAdam(snapshot)
    dense.train(bare)
    assert dense.distance(train(snapshot, MODEL, bare, RATE, BATCH)) <= 1e-6


def test_training_lowers_the_loss_on_what_it_trains_on() -> None:
    samples = period(0, 40)
    snapshot = start()
    (whole,) = samples.batches(len(samples))
    before = binary_cross_entropy_with_logits(MODEL.logits(snapshot.parameters, whole), whole.labels)
    for _ in range(10):
        snapshot = train(snapshot, MODEL, samples, RATE, BATCH)
    assert binary_cross_entropy_with_logits(MODEL.logits(snapshot.parameters, whole), whole.labels) < 0.9 * before

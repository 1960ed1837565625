"""Row statistics and their features φ: by hand, by brute force, and what of them is stored."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import numpy as np
import plain_generator as plain
import plain_row_statistics as rows_of
import pytest
import torch

from models import tree
from models.meta_generators.statistics import Statistics
from models.samples import Samples
from stream_app.store.leaves import describe

SIZES = {"user": 12, "item": 15}
EVERYTHING = slice(None)


def after(*periods: Samples) -> Statistics:
    statistics = Statistics.start(SIZES)
    for samples in periods:
        statistics = statistics.after(samples, SIZES)
    return statistics


def samples(users: list[int], items: list[int], labels: list[int], history: list[int] | None = None) -> Samples:
    """The first sample has the whole history."""
    count, looked = len(users), history or []
    offsets = torch.tensor([0, *[len(looked)] * count])[: count + 1]
    return replace(
        plain.samples_of(count),
        users=torch.tensor(users, dtype=torch.int64),
        items=torch.tensor(items, dtype=torch.int64),
        labels=torch.tensor(labels, dtype=torch.float32),
        history=torch.tensor(looked, dtype=torch.int64),
        offsets=offsets,
    )


def test_features_by_hand() -> None:
    """Two periods; user 3: positive, positive | positive, negative; 4 of all 6 samples are positive."""
    first = samples([3, 3, 5], [7, 8, 7], [1, 1, 0])
    second = samples([3, 3, 5], [9, 7, 9], [1, 0, 1])
    q, logit = 4 / 6, rows_of.logit
    lift = logit((3 + 4 * q) / (4 + 4)) - logit(q)
    by_hand = [1, math.log(5) / 3, lift, 0, math.log(1 + 1) / 2, math.log(1 + 0.5 * 2 + 1) / 2]
    got = after(first, second).features("user", torch.tensor([3]))[0]
    assert got.tolist() == pytest.approx(by_hand, abs=1e-6)
    lift = logit((1 + 4 * q) / (3 + 4)) - logit(q)
    by_hand = [1, math.log(4) / 3, lift, 0, 0, math.log(1 + 0.5 * 1) / 2]
    got = after(first, second).features("item", torch.tensor([7]))[0]
    assert got.tolist() == pytest.approx(by_hand, abs=1e-6)


def test_a_row_that_was_never_met_and_the_cold_row_have_the_features_of_a_newborn() -> None:
    statistics = after(samples([3, 4], [7, 8], [1, 0], history=[9, 9]))
    newborn = [1, 0, 0, 1, 0, 0]
    assert statistics.features("item", torch.tensor([0, 9, 14])).tolist() == [newborn] * 3
    assert statistics.grown({"user": 40, "item": 50}).features("user", torch.tensor([0, 39])).tolist() == [newborn] * 2


def test_statistics_of_many_periods_equal_counting_sample_by_sample() -> None:
    periods = [plain.samples_of(count, seed=count) for count in (9, 13, 4, 11, 30, 2)]
    for upto in range(1, len(periods) + 1):
        statistics = after(*periods[:upto])
        for table, size in SIZES.items():
            expected = [rows_of.phi(periods[:upto], table, row) for row in range(size)]
            np.testing.assert_allclose(statistics.features(table, EVERYTHING).numpy(), expected, atol=2e-6)


def test_a_period_without_samples_is_a_period() -> None:
    """l is 0 after it and e half of what it was."""
    one = after(samples([3, 3], [7, 8], [1, 1]))
    two = one.after(Samples.empty(), SIZES)
    assert two.features("user", torch.tensor([3]))[0, 4:].tolist() == pytest.approx([0, math.log(2) / 2])
    assert one.features("user", torch.tensor([3]))[0, 4:].tolist() == pytest.approx([math.log(3) / 2] * 2)


def test_a_row_at_rest_changes_nothing_that_is_stored() -> None:
    one = after(samples([3, 4], [7, 8], [1, 0]))
    two = one.after(samples([5], [9], [1]), SIZES)
    rest = torch.tensor([1, 2, 3, 4])
    assert torch.equal(one.rows["user"][rest], two.rows["user"][rest])
    assert torch.equal(one.stands["user"][rest], two.stands["user"][rest])
    assert not torch.equal(one.rows["user"][5], two.rows["user"][5])


def test_statistics_are_a_value() -> None:
    one = after(samples([3, 4], [7, 8], [1, 0]))
    kept = {name: tensor.clone() for name, tensor in one.rows.items()}
    one.after(samples([3], [8], [1]), {"user": 20, "item": 20})
    assert all(torch.equal(one.rows[name], kept[name]) for name in kept)


@pytest.mark.parametrize("label", [0, 1])
def test_with_one_label_only_every_feature_is_a_number(label: int) -> None:
    statistics = after(samples([3, 3, 4], [7, 8, 9], [label] * 3))
    for table in SIZES:
        assert torch.isfinite(statistics.features(table, EVERYTHING)).all()
    assert torch.isfinite(Statistics.start(SIZES).grown(SIZES).features("user", EVERYTHING)).all()


def test_only_positives_so_far_is_the_limit_of_almost_only_positives() -> None:
    """q -> 1 with all n samples of a row positive: logit((n+4q)/(n+4)) - logit(q) -> ln((n+4)/4)."""
    lift = after(samples([3, 3, 4], [7, 8, 9], [1, 1, 1])).features("user", torch.tensor([3]))[0, 2]
    assert float(lift) == pytest.approx(math.log(6 / 4), abs=1e-6)
    q = 1 - 1e-9
    assert rows_of.logit((2 + 4 * q) / 6) - rows_of.logit(q) == pytest.approx(float(lift), abs=1e-5)


def test_of_what_is_stored_only_blocks_with_rows_that_a_period_met_are_written_anew() -> None:
    """200,000 users take four blocks of 16 bytes a row; a period of the last users writes the last of them."""
    sizes = {"user": 200_001, "item": 15}
    everybody = torch.arange(1, sizes["user"])
    first = samples(everybody.tolist(), [3] * len(everybody), [1] * len(everybody))
    one = Statistics.start(sizes).after(first, sizes)
    two = one.after(samples([199_990, 200_000], [7, 8], [1, 0]), sizes)
    before, after = blocks_of(one, "rows.user"), blocks_of(two, "rows.user")
    assert len(before) == 4
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, True, False]


def blocks_of(statistics: Statistics, path: str) -> list[bytes]:
    described = describe(tree.flatten(statistics), lambda part: hashlib.sha256(part).digest())
    return next(list(entry["blocks"]) for entry in described if entry["path"] == path)

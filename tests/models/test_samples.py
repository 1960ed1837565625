"""Samples against a slow loop that reads the rules one by one, on small streams with ties, late rows and repeats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.interactions import Interactions
from models.randomness import rng
from models.samples import Batch, Samples
from models.sampling import SamplerState, sample

Sample = tuple[Any, Any, float, tuple[Any, ...], tuple[bool, bool]]
"""User, item, label, history, whether item and user were known before."""


def stream(
    seed: int, rows: int = 120, users: int = 6, items: int = 50, kind: str = "int", span: int = 25
) -> Interactions:
    """A few users and moments, so that times tie and pairs repeat."""
    draw = np.random.default_rng(seed)

    def ids(count: int) -> np.ndarray:
        numbers = draw.integers(0, count, rows) * 7 - 20
        if kind == "int":
            return numbers
        texts = np.empty(rows, object)
        texts[:] = [f"ö{number}" for number in numbers]
        return texts

    labels = (draw.random(rows) < 0.7).astype(np.float32)
    return Interactions(ids(users), ids(items), np.sort(draw.integers(0, span, rows)), labels)


def periods(interactions: Interactions, seed: int, count: int = 4, late: float = 0.2) -> list[Interactions]:
    """Cut by arrival: some rows arrive one to three periods after their time, as late ones do."""
    draw = np.random.default_rng(seed)
    period = np.arange(len(interactions)) * count // len(interactions)
    period = np.minimum(period + (draw.random(len(period)) < late) * draw.integers(1, 4, len(period)), count - 1)
    return [interactions.select(period == number).canonical() for number in range(count)]


@dataclass
class SlowSampler:
    """The rules of algorithms.md with lists and sets, on ids; for negatives only what is forbidden."""

    newest: dict[Any, list[tuple[int, Any]]] = field(default_factory=dict)
    known: set[tuple[Any, Any]] = field(default_factory=set)
    users: set[Any] = field(default_factory=set)
    items: set[Any] = field(default_factory=set)

    def period(self, rows: list[tuple[Any, Any, int, float]]) -> tuple[list[Sample], list[set[Any]]]:
        before, users_before = set(self.items), set(self.users)
        self.users |= {user for user, _, _, _ in rows}
        self.items |= {item for _, item, _, _ in rows}
        samples, forbidden = [], []
        for user, item, time, label in rows:
            in_period = [(t, i) for u, i, t, y in rows if u == user and y == 1]
            earlier = [(t, i) for t, i in self.newest.get(user, []) + in_period if t < time]
            earlier.sort(key=lambda entry: entry[0])
            history = tuple(i for _, i in earlier[-30:][::-1])
            samples.append((user, item, label, history, (item in before, user in users_before)))
            forbidden.append({i for u, i in self.known if u == user} | {i for t, i in in_period if t <= time})
        for user, item, time, label in rows:
            if label == 1:
                entries = [*self.newest.get(user, []), (time, item)]
                entries.sort(key=lambda entry: entry[0])
                self.newest[user] = entries[-30:]
                self.known.add((user, item))
        return samples, forbidden


def rows_of(interactions: Interactions) -> list[tuple[Any, Any, int, float]]:
    columns = (interactions.users, interactions.items, interactions.times, interactions.labels)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def samples_of(state: SamplerState, samples: Samples) -> list[Sample]:
    """Each sample with ids for row numbers, found one by one through the offsets."""
    users, items = [None, *state.users.ids.tolist()], [None, *state.items.ids.tolist()]
    found = []
    for at in range(len(samples)):
        low, high = int(samples.offsets[at]), int(samples.offsets[at + 1])
        history = tuple(items[row] for row in samples.history[low:high].tolist())
        user, item = users[int(samples.users[at])], items[int(samples.items[at])]
        seen = bool(samples.seen_items[at]), bool(samples.seen_users[at])
        found.append((user, item, float(samples.labels[at]), history, seen))
    return found


def learn(
    parts: list[Interactions], negatives: int, seed: int = 0, kind: str = "int"
) -> list[tuple[SamplerState, Samples]]:
    state, results = SamplerState.start(kind, kind), []
    for number, part in enumerate(parts):
        state, samples = sample(state, part, negatives, rng(seed, number, "negatives"), rng(seed, number, "training"))
        results.append((state, samples))
    return results


def bytes_of(samples: Samples) -> list[bytes]:
    return [getattr(samples, name).numpy().tobytes() for name in Samples.__dataclass_fields__]


@pytest.mark.parametrize("kind", ["int", "string"])
@pytest.mark.parametrize("seed", range(8))
def test_samples_and_histories_equal_the_slow_loop(seed: int, kind: str) -> None:
    # Two users with up to 400 rows, so that histories are longer than 30 and the carried ones get cut.
    users, rows = (2, 400) if seed % 2 else (6, 120)
    parts = periods(stream(seed, rows=rows, users=users, kind=kind), seed)
    slow = SlowSampler()
    for part, (state, samples) in zip(parts, learn(parts, 0, kind=kind), strict=True):
        expected, _ = slow.period(rows_of(part))
        assert sorted(samples_of(state, samples), key=repr) == sorted(expected, key=repr)
    assert users == 6 or max(len(history) for _, _, _, history, _ in expected) == 30


@pytest.mark.parametrize("seed", range(4))
def test_the_state_keeps_the_30_newest_and_every_known_pair(seed: int) -> None:
    parts = periods(stream(seed, rows=300, users=4), seed)
    slow = SlowSampler()
    for part, (state, _) in zip(parts, learn(parts, 1), strict=True):
        slow.period(rows_of(part))
        users, items = [None, *state.users.ids.tolist()], [None, *state.items.ids.tolist()]
        assert not state.history_items[0].any()
        for row in range(1, state.users.size):
            kept = [
                (int(t), items[i]) for i, t in zip(state.history_items[row], state.history_times[row], strict=True) if i
            ]
            assert kept[::-1] == slow.newest.get(users[row], [])
        pairs = [(users[pair >> 32], items[pair & 0xFFFFFFFF]) for pair in state.pairs.tolist()]
        assert state.pairs.tolist() == sorted(state.pairs.tolist())
        assert len(pairs) == len(slow.known)
        assert set(pairs) == slow.known


@pytest.mark.parametrize("kind", ["int", "string"])
@pytest.mark.parametrize("seed", range(6))
def test_a_negative_is_an_item_of_this_time_that_the_user_never_liked(seed: int, kind: str) -> None:
    parts = periods(stream(seed, kind=kind), seed)
    slow = SlowSampler()
    for part, (state, samples) in zip(parts, learn(parts, 3, kind=kind), strict=True):
        rows = rows_of(part)
        expected, forbidden = slow.period(rows)
        found = samples_of(state, samples)
        for one in expected:
            found.remove(one)
        # What is left are negatives: each must belong to a positive row, three to each, with its user and history.
        allowed = [
            (user, history, slow.items - taken)
            for (user, _, label, history, _), taken in zip(expected, forbidden, strict=True)
            if label == 1
        ]
        assert len(found) == 3 * len(allowed)
        for user, item, label, history, _ in found:
            assert label == 0
            assert any(user == u and history == h and item in free for u, h, free in allowed)
        for user, history, _ in allowed:
            twins = sum(1 for u, h, _ in allowed if (u, h) == (user, history))
            assert sum(1 for one in found if (one[0], one[3]) == (user, history)) == 3 * twins


def rows(*values: tuple[int, int, int, int]) -> Interactions:
    columns = np.array(values, np.int64).reshape(-1, 4)
    return Interactions(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3].astype(np.float32)).canonical()


def test_negatives_are_uniform_over_the_free_items() -> None:
    # User 1 liked items 0 and 1 at times 0 and 5; 2 to 6 came with user 2, 7 with a dislike of user 1 itself.
    part = rows((1, 0, 0, 1), (1, 1, 5, 1), *((2, item, 9, 1) for item in range(2, 7)), (1, 7, 1, 0))
    state, samples = learn([part], 3000)[0]
    drawn: dict[tuple[Any, ...], list[Any]] = {}
    for user, item, label, history, _ in samples_of(state, samples):
        if user == 1 and label == 0:
            drawn.setdefault(history, []).append(item)
    # At time 0 item 1 is still free, at time 5 it is not.
    for history, free in (((), {1, 2, 3, 4, 5, 6, 7}), ((0,), {2, 3, 4, 5, 6, 7})):
        values, counts = np.unique(drawn[history], return_counts=True)
        assert set(values.tolist()) == free
        # The dislike at time 1 has the history (0,) too and is item 7 once.
        expected = 3000 / len(free)
        assert ((counts - expected) ** 2 / expected).sum() < 30


def test_a_user_who_has_everything_but_one_item_gets_that_one_and_who_has_everything_gets_none() -> None:
    catalogue = 500
    owner = [(1, item, item, 1) for item in range(catalogue)]
    state, _ = learn([rows(*owner, (2, catalogue, 0, 1))], 0)[0]
    state, samples = sample(state, rows((1, 0, 1000, 1)), 5, rng(0, 1, "n"), rng(0, 1, "t"))
    negatives = [one for one in samples_of(state, samples) if one[2] == 0]
    assert [(user, item) for user, item, _, _, _ in negatives] == [(1, catalogue)] * 5
    _, samples = sample(state, rows((1, catalogue, 1001, 1)), 5, rng(0, 2, "n"), rng(0, 2, "t"))
    assert samples.labels.tolist() == [1.0]


def test_equal_times_are_not_history_of_each_other_not_even_across_periods() -> None:
    parts = [rows((1, 10, 5, 1), (1, 11, 6, 1)), rows((1, 12, 6, 1), (1, 13, 7, 1))]
    results = learn(parts, 0)
    histories = {item: history for _, item, _, history, _ in samples_of(*results[1])}
    assert histories == {12: (10,), 13: (12, 11, 10)}


def test_a_late_row_sees_only_what_was_earlier_and_takes_its_place_by_event_time() -> None:
    parts = [rows((1, 10, 10, 1), (1, 11, 20, 1)), rows((1, 12, 15, 1), (1, 13, 30, 1)), rows((1, 14, 40, 1))]
    results = learn(parts, 0)
    histories = {item: history for _, item, _, history, _ in samples_of(*results[1])}
    assert histories == {12: (10,), 13: (11, 12, 10)}
    assert samples_of(*results[2])[0][3] == (13, 11, 12, 10)


@pytest.mark.parametrize("negatives", [0, 2])
def test_no_later_period_can_change_an_earlier_one(negatives: int) -> None:
    parts = periods(stream(0, kind="string"), 0)
    other = [*parts[:2], *periods(stream(1, items=90, kind="string"), 1)[2:]]
    before = [bytes_of(samples) for _, samples in learn(parts, negatives, kind="string")]
    after = [bytes_of(samples) for _, samples in learn(other, negatives, kind="string")]
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_same_seed_same_bytes_and_another_seed_another_order() -> None:
    parts = periods(stream(0), 0)
    runs = [[bytes_of(samples) for _, samples in learn(parts, 1, seed)] for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]


def test_sampling_leaves_the_state_that_it_was_given_as_it_was() -> None:
    parts = periods(stream(0), 0)
    state = learn(parts[:2], 1)[-1][0]
    arrays = (state.users.ids, state.items.ids, state.history_items, state.history_times, state.pairs)
    before = [array.tobytes() for array in arrays]
    first = sample(state, parts[2], 1, rng(0, 2, "n"), rng(0, 2, "t"))[1]
    assert [array.tobytes() for array in arrays] == before
    assert bytes_of(sample(state, parts[2], 1, rng(0, 2, "n"), rng(0, 2, "t"))[1]) == bytes_of(first)


def test_dislikes_enter_neither_histories_nor_known_pairs() -> None:
    state, samples = learn([rows((1, 10, 1, 0), (1, 11, 2, 0), (1, 12, 3, 1))], 0)[0]
    assert len(samples.history) == 0
    assert len(samples) == 3
    assert [pair & 0xFFFFFFFF for pair in state.pairs.tolist()] == [3]
    assert learn([rows((1, 10, 1, 0))], 3)[0][1].labels.tolist() == [0.0]


def test_an_empty_period_gives_no_samples_and_changes_nothing() -> None:
    state = learn([rows((1, 10, 1, 1))], 1)[0][0]
    after, samples = sample(state, Interactions.empty(), 1, rng(0, 1, "n"), rng(0, 1, "t"))
    assert after is state
    assert bytes_of(samples) == bytes_of(Samples.empty())
    assert list(Samples.empty().batches(4)) == []


def test_training_order_is_shuffled_and_does_not_favour_positives() -> None:
    samples = learn([rows(*((user, item, user, 1) for user in range(50) for item in range(user, user + 20)))], 1)[0][1]
    place = torch.arange(len(samples), dtype=torch.float64)
    positives = place[samples.labels == 1].mean() / len(samples)
    assert abs(float(positives) - 0.5) < 0.05
    assert samples.users.tolist() != sorted(samples.users.tolist())


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_batches_are_the_samples_cut_in_order(size: int) -> None:
    _, samples = learn(periods(stream(3), 3), 1)[-1]
    batches = list(samples.batches(size))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert sum(len(batch) for batch in batches) == len(samples)
    for name in ("users", "items", "labels", "history"):
        assert torch.equal(torch.cat([getattr(batch, name) for batch in batches]), getattr(samples, name))
    at = 0
    for batch in batches:
        assert int(batch.offsets[0]) == 0
        assert int(batch.offsets[-1]) == len(batch.history)
        for low, high in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
            assert batch.history[low:high].tolist() == whole_history(samples, at)
            at += 1


def whole_history(samples: Samples, at: int) -> list[int]:
    return samples.history[int(samples.offsets[at]) : int(samples.offsets[at + 1])].tolist()


def test_a_batch_is_what_embedding_bag_takes() -> None:
    state, samples = learn(periods(stream(3), 3), 1)[-1]
    table = torch.randn(state.items.size, 4, generator=torch.Generator().manual_seed(0))
    batch: Batch = next(samples.batches(50))
    pooled = F.embedding_bag(batch.history, table, batch.offsets, mode="mean", include_last_offset=True)
    for at in range(50):
        history = whole_history(samples, at)
        expected = torch.stack([table[row] for row in history]).mean(0) if history else torch.zeros(4)
        assert torch.allclose(pooled[at], expected, atol=1e-6)


def test_dtypes_are_those_that_the_learner_relies_on() -> None:
    state, samples = learn([stream(0).canonical()], 1)[0]
    assert [getattr(samples, name).dtype for name in ("users", "items", "history", "offsets")] == [torch.int64] * 4
    assert (samples.labels.dtype, samples.seen_items.dtype, samples.seen_users.dtype) == (
        torch.float32,
        *[torch.bool] * 2,
    )
    assert (state.history_items.dtype, state.history_times.dtype, state.pairs.dtype) == (np.int32, np.int64, np.int64)
    assert bytes_of(samples.to("cpu")) == bytes_of(samples)


def test_wrong_arguments_are_refused() -> None:
    state, draw = SamplerState.start(), rng(0, 0, "n")
    backwards = Interactions(*(np.array([1, 2]),) * 2, np.array([5, 4]), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="canonical"):
        sample(state, backwards, 0, draw, draw)
    with pytest.raises(ValueError, match="-1"):
        sample(state, rows((1, 1, 1, 1)), -1, draw, draw)
    with pytest.raises(ValueError, match="object"):
        sample(SamplerState.start("string"), rows((1, 1, 1, 1)), 0, draw, draw)
    with pytest.raises(ValueError, match="at least one"):
        list(Samples.empty().batches(0))


def ragged(samples: Samples) -> list[tuple[int, int, float, list[int], bool, bool]]:
    """The samples one by one, as plain Python."""
    offsets = samples.offsets.tolist()
    return [
        (
            int(samples.users[n]),
            int(samples.items[n]),
            float(samples.labels[n]),
            samples.history[offsets[n] : offsets[n + 1]].tolist(),
            bool(samples.seen_users[n]),
            bool(samples.seen_items[n]),
        )
        for n in range(len(samples))
    ]


def some_samples(seed: int, count: int) -> Samples:
    draw = np.random.default_rng(seed)
    lengths = draw.integers(0, 4, count)
    return Samples(
        users=torch.from_numpy(draw.integers(1, 9, count)),
        items=torch.from_numpy(draw.integers(1, 9, count)),
        labels=torch.from_numpy(draw.integers(0, 2, count).astype(np.float32)),
        history=torch.from_numpy(draw.integers(1, 9, int(lengths.sum()))),
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])),
        seen_users=torch.from_numpy(draw.random(count) < 0.5),
        seen_items=torch.from_numpy(draw.random(count) < 0.5),
    )


def test_periods_put_together_are_their_samples_in_turn() -> None:
    parts = [some_samples(1, 5), Samples.empty(), some_samples(2, 3)]
    assert ragged(Samples.concatenate(parts)) == [one for part in parts for one in ragged(part)]


def test_selected_samples_keep_their_histories() -> None:
    samples = some_samples(3, 6)
    order = [4, 0, 0, 5, 2]
    assert ragged(samples.select(torch.tensor(order))) == [ragged(samples)[n] for n in order]

"""Categories of items in the samples, against a slow loop on ids; late rows, ties and items that change theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from models.interactions import Interactions, category_column
from models.item_categories import ItemCategories
from models.parameters import CATEGORY, ITEM
from models.randomness import rng
from models.samples import Batch, Samples, known_rows, renumbered
from models.sampling import SamplerState, sample
from models.vocabulary import Vocabulary

Names = tuple[str, ...]
NAMES = ("", "action", "drama", "é", "short")
COLUMNS = ("categories", "category_offsets", "history_categories", "history_category_offsets")


def stream(seed: int, rows: int = 160, kind: str = "int") -> Interactions:
    """A few users, items and moments, so that times tie; what an item's category is changes from row to row."""
    draw = np.random.default_rng(seed)
    users, items = draw.integers(0, 6, rows), draw.integers(0, 25, rows) * 7 - 20
    if kind == "string":
        users, items = (np.array([f"ö{number}" for number in ids], object) for ids in (users, items))
    labels = (draw.random(rows) < 0.7).astype(np.float32)
    named = category_column([draw.choice(NAMES, draw.integers(0, 4)).tolist() for _ in range(rows)])
    return Interactions(users, items, np.sort(draw.integers(0, 40, rows)), labels, named).canonical()


def periods(seed: int, kind: str = "int", count: int = 5) -> list[Interactions]:
    """Cut by arrival: every fifth row comes one to three periods after its time."""
    rows, draw = stream(seed, kind=kind), np.random.default_rng(seed)
    period = np.arange(len(rows)) * count // len(rows)
    period = np.minimum(period + (draw.random(len(rows)) < 0.2) * draw.integers(1, 4, len(rows)), count - 1)
    return [rows.select(period == number).canonical() for number in range(count)]


def learn(parts: list[Interactions], negatives: int = 1, kind: str = "int") -> Iterator[tuple[SamplerState, Samples]]:
    state = SamplerState.start(kind, kind)
    for number, part in enumerate(parts):
        state, samples = sample(state, part, negatives, rng(0, number, "negatives"), rng(0, number, "training"))
        yield state, samples


def said(latest: dict[Any, tuple[int, Names]], part: Interactions) -> None:
    """What the rows of a period say of their items, one by one in canonical order; an older row says nothing new."""
    assert part.categories is not None
    for item, time, names in zip(part.items.tolist(), part.times.tolist(), part.categories.tolist(), strict=True):
        if item not in latest or time >= latest[item][0]:
            latest[item] = (time, names)


def named(state: SamplerState, values: torch.Tensor, offsets: torch.Tensor) -> list[Names]:
    """A ragged column of category rows as names, one by one."""
    names, bounds = [None, *state.categories.ids.tolist()], offsets.tolist()
    rows = [values[low:high].tolist() for low, high in pairwise(bounds)]
    assert all(row == sorted(set(row)) for row in rows), "the rows of an item rise"
    return [tuple(sorted(str(names[row]) for row in own)) for own in rows]


@pytest.mark.parametrize("kind", ["int", "string"])
@pytest.mark.parametrize("seed", range(6))
def test_every_item_has_the_categories_of_its_latest_interaction_wherever_it_stands(seed: int, kind: str) -> None:
    latest: dict[Any, tuple[int, Names]] = {}
    parts, drawn = periods(seed, kind), 0
    for part, (state, samples) in zip(parts, learn(parts, kind=kind), strict=True):
        said(latest, part)
        items = [None, *state.items.ids.tolist()]
        for rows, values, offsets in (
            (samples.items, samples.categories, samples.category_offsets),
            (samples.history, samples.history_categories, samples.history_category_offsets),
        ):
            assert named(state, values, offsets) == [latest[items[row]][1] for row in rows.tolist()]
        drawn += len(samples) - len(part)
        assert set(state.categories.ids.tolist()) <= set(NAMES)
        assert len(state.categories) == state.sizes[CATEGORY] - 1
    assert drawn > 50, "there were negatives"


def test_a_late_row_does_not_undo_what_a_newer_one_said_and_of_equal_times_the_later_period_holds() -> None:
    def one(time: int, names: str) -> Interactions:
        column = category_column([names.split()])
        return Interactions(np.array([1]), np.array([7]), np.array([time]), np.ones(1, np.float32), column)

    parts = [one(10, "a"), one(5, "late"), one(10, "b c"), one(11, "")]
    found = [named(state, samples.categories, samples.category_offsets) for state, samples in learn(parts, 0)]
    assert found == [[("a",)], [("a",)], [("b", "c")], [()]]


def test_categories_change_nothing_else() -> None:
    parts = periods(0)
    plain = [replace(part, categories=None) for part in parts]
    for (state, samples), (other, bare) in zip(learn(parts), learn(plain), strict=True):
        for name in set(Samples.__dataclass_fields__) - set(COLUMNS):
            assert torch.equal(getattr(samples, name), getattr(bare, name)), name
        assert all(len(getattr(bare, name)) == 0 for name in COLUMNS), "without categories the columns are empty"
        assert (len(other.categories), len(other.item_categories), len(other.item_categories.rows)) == (0, 1, 0)
        assert state.pairs.tobytes() == other.pairs.tobytes()


def test_a_state_stays_as_it_was() -> None:
    parts = periods(1)
    states = [state for state, _ in learn(parts[:2])]
    before = [array.tobytes() for array in (states[1].item_categories.rows, states[1].item_categories.offsets)]
    sample(states[1], parts[2], 1, rng(0, 2, "n"), rng(0, 2, "t"))
    known = states[1].item_categories
    assert [array.tobytes() for array in (known.rows, known.offsets)] == before


def test_samples_as_an_older_state_knew_them_have_no_categories_of_items_born_later() -> None:
    """What a model that was published before the period is scored with."""
    parts = periods(2)
    latest: dict[Any, tuple[int, Names]] = {}
    older = SamplerState.start()
    for part, (state, samples) in zip(parts, learn(parts), strict=True):
        seen = samples.with_categories(older.item_categories)
        items = [None, *state.items.ids.tolist()]
        expected = [latest.get(items[row], (0, ()))[1] for row in samples.items.tolist()]
        assert named(older, seen.categories, seen.category_offsets) == expected
        said(latest, part)
        older = state


def one_by_one(samples: Samples | Batch) -> list[tuple[Any, ...]]:
    """Each sample as plain Python: item and history, with the categories of each."""

    def ragged(values: torch.Tensor, offsets: torch.Tensor) -> list[list[int]]:
        bounds = offsets.tolist()
        return [values[low:high].tolist() for low, high in pairwise(bounds)]

    own = ragged(samples.categories, samples.category_offsets)
    entries = ragged(samples.history_categories, samples.history_category_offsets)
    past = list(zip(samples.history.tolist(), entries, strict=True))
    bounds = samples.offsets.tolist()
    histories = [past[low:high] for low, high in pairwise(bounds)]
    return list(zip(samples.users.tolist(), samples.items.tolist(), own, histories, strict=True))


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_batches_selections_and_joined_periods_keep_each_sample_with_its_categories(size: int) -> None:
    parts = [samples for _, samples in learn(periods(3))]
    whole = [one for part in parts for one in one_by_one(part)]
    joined = Samples.concatenate([parts[0], Samples.empty(), *parts[1:]])
    assert one_by_one(joined) == whole
    batches = list(joined.batches(size))
    assert [one for batch in batches for one in one_by_one(batch)] == whole
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:50]
    assert one_by_one(joined.select(order).to("cpu")) == [whole[number] for number in order.tolist()]


def test_an_empty_period_and_samples_without_a_history_have_columns_that_fit() -> None:
    part = stream(4, rows=12)
    alone = replace(part, users=np.arange(12), categories=category_column([["a"]] * 11 + [[]]))
    (_, samples), (_, empty) = learn([alone.canonical(), Interactions.empty(categories=True)], 0)
    assert (len(samples.history), samples.history_category_offsets.tolist()) == (0, [0])
    assert samples.category_offsets.tolist()[-1] == 11
    assert one_by_one(Samples.concatenate([empty, samples, empty])) == one_by_one(samples)
    assert [len(batch.category_offsets) for batch in samples.batches(5)] == [6, 6, 3]


def test_periods_with_and_without_categories_do_not_go_together() -> None:
    (_, first), (_, second) = learn(periods(0)[:2])
    bare = replace(second, **dict.fromkeys(COLUMNS, second.users[:0]))
    with pytest.raises(ValueError, match="categories"):
        Samples.concatenate([first, bare])


def test_rows_of_categories_are_numbered_anew_and_cut_like_those_of_every_vocabulary() -> None:
    *_, (state, samples) = learn(periods(5))
    places = torch.arange(state.sizes[CATEGORY]) + 100
    again = renumbered(samples, {CATEGORY: places})
    assert torch.equal(again.categories, samples.categories + 100)
    assert torch.equal(again.history_categories, samples.history_categories + 100)
    assert torch.equal(again.history_category_offsets, samples.history_category_offsets)
    known = known_rows(samples, {CATEGORY: 3, ITEM: state.items.size})
    assert known.categories.tolist() == [row if row < 3 else 0 for row in samples.categories.tolist()]


def test_what_samples_say_of_categories_is_the_label_of_each_target_once_for_each_of_its_categories() -> None:
    *_, (_, samples) = learn(periods(6))
    labels = samples.labels.tolist()
    expected = [(row, labels[n]) for n, (_, _, own, _) in enumerate(one_by_one(samples)) for row in own]
    rows, said_of = samples.subjects(CATEGORY)
    assert list(zip(rows.tolist(), said_of.tolist(), strict=True)) == expected
    bare = replace(samples, **dict.fromkeys(COLUMNS, samples.users[:0]))
    assert [len(column) for column in bare.subjects(CATEGORY)] == [0, 0]


def test_the_table_of_a_first_period_is_that_of_a_dictionary() -> None:
    known = Vocabulary.empty("string")
    items, times = np.array([2, 1, 2], np.int32), np.array([1, 2, 3])
    vocabulary, table = ItemCategories.none().after(known, items, times, category_column([["x"], ["b", "a"], ["a"]]), 3)
    assert vocabulary.ids.tolist() == ["a", "b"], "x was said of an item that has it no more"
    assert (table.rows.tolist(), table.offsets.tolist(), table.times[1:].tolist()) == (
        [1, 2, 1],
        [0, 0, 2, 3],
        [2, 3],
    )

"""The small streams that laws run on: a few users and items, new ones in every period, labels that can be learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.interactions import Interactions, category_column
from models.parameters import CATEGORY, ITEM, USER
from models.randomness import rng
from models.samples import Samples
from models.sampling import SamplerState, sample

ROWS = 32
"""Interactions in a period."""

SIZES = {USER: 20, ITEM: 15, CATEGORY: 5}
"""Rows of tables that have room for all ids of the first periods."""

_CATEGORIES = ((), ("a",), ("a", "b"), ("c",))

PRETRAIN = 2
"""Periods that pretraining consumes."""


def stream(periods: int, name: str = "laws", categories: bool = False) -> list[Interactions]:
    """So many periods in canonical order, with categories of their items or without. `name`: streams of other names
    have other interactions."""
    return [_period(number, name, categories) for number in range(1, periods + 1)]


def odd_periods(usual: Interactions) -> dict[str, Interactions]:
    """What a period may be like, by what is odd about it; in place of `usual`."""
    nobody = np.int64(100_000)
    return {
        "with positive labels only": replace(usual, labels=np.ones_like(usual.labels)),
        "with negative labels only": replace(usual, labels=np.zeros_like(usual.labels)),
        "of one interaction": usual.select(slice(0, 1)),
        "of users and items never seen before": replace(usual, users=usual.users + nobody, items=usual.items + nobody),
        "without interactions": usual.select(slice(0, 0)),
    }


def samples_of(number: int, categories: bool = False) -> Samples:
    """The samples of that period of the stream; some have a history and some have none."""
    state = SamplerState.start()
    for period, interactions in enumerate(stream(number, categories=categories), 1):
        state, samples = sample(state, interactions, 0, rng(0, period, "negatives"), rng(0, period, "training"))
    return samples


def _period(number: int, name: str, categories: bool) -> Interactions:
    draw = rng(0, number, f"stream/{name}")
    users, items = draw.integers(1, 8 + 2 * number, ROWS), draw.integers(1, 6 + number, ROWS)
    liked = (users + items) % 3 != number % 2
    return Interactions(
        users,
        items,
        np.sort(draw.integers(0, 1_000_000, ROWS)) + number * 1_000_000,
        np.where(draw.random(ROWS) < 0.1, ~liked, liked).astype(np.float32),
        category_column(_CATEGORIES[item % len(_CATEGORIES)] for item in items) if categories else None,
    ).canonical()

"""A stream, a part at a time: what is held in memory is the world and one part, however long the stream is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.interactions import Categories, Interactions, category_column
from models.randomness import rng
from stream_app.synthetic.drawing import met
from stream_app.synthetic.drift import STEPS
from stream_app.synthetic.season import Season
from stream_app.synthetic.settings import SyntheticSettings
from stream_app.synthetic.world import Moment, World, moments


@dataclass(frozen=True)
class GeneratedStream:
    """Rows in order of event time, and what is true about their labels.

    probability: float64 [n], that the label is 1 given all that the world knows, label noise included: nobody can
    predict better on average. None for an implicit stream: its labels are all 1, and what a model learns there is to
    tell the rows from negatives that somebody else draws.
    """

    interactions: Interactions
    probability: NDArray[np.float64] | None


def generate(settings: SyntheticSettings) -> Iterator[GeneratedStream]:
    """Exactly `settings.interactions` rows, in parts of which none is empty, one after the other in event time."""
    world = World.of(settings)
    season = Season(settings.days, STEPS)
    counts = rng(settings.seed, 0, "synthetic counts").multinomial(settings.interactions, season.shares)
    names = category_column([[f"genre-{number}"] for number in range(settings.genres)])
    for step, moment in enumerate(moments(settings)):
        if counts[step]:
            draw = rng(settings.seed, step, "synthetic rows")
            times = season.times(draw, step, int(counts[step]))
            yield _part(draw, world, moment, times, settings, names if settings.categories else None)


def _part(
    draw: np.random.Generator,
    world: World,
    moment: Moment,
    times: NDArray[np.int64],
    settings: SyntheticSettings,
    names: Categories | None,
) -> GeneratedStream:
    user, item = met(draw, world, moment, len(times), settings.implicit)
    probability, labels = None, np.ones(len(times), np.float32)
    if not settings.implicit:
        noise = settings.label_noise
        probability = noise + (1 - 2 * noise) * moment.liking(world, user, item)
        labels = (draw.random(len(times)) < probability).astype(np.float32)
    categories = None if names is None else names[world.genre[item]]
    rows = Interactions(world.user_ids[user], world.item_ids[item], times, labels, categories)
    return GeneratedStream(rows, probability)


def drifting_stream(
    interactions: int,
    users: int,
    items: int,
    seed: int,
    explicit: bool = False,
    days: float = 30.0,
    genres: int = 8,
    drift: float = 0.25,
) -> Interactions:
    """A stream with gradual drift of that strength and no label noise, whole: for tests and benchmarks.

    Raises ValueError for what SyntheticSettings refuses.
    """
    settings = SyntheticSettings(
        interactions, users, items, days, ("gradual",), drift, 0.0, not explicit, genres=genres, seed=seed
    )
    return Interactions.concatenate([part.interactions for part in generate(settings)])

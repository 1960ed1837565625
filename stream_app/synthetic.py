"""A generated drifting stream, for the demo and for tests: no recording of real people is needed to see the chain work.

Its world: genres; items that belong to a genre, have a place in the long tail, appear, have their best days and fade;
users who appear, differ in how active they are, and whose taste for genres wanders. Taste can be learned from who
clicks what, so that a model beats popularity, and nothing stays as it is, so that a fresh model beats an old one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.interactions import Interactions
from models.randomness import rng

START = 1_767_225_600
"""First second of 2026, UTC."""

_MICROSECONDS = 1_000_000
_STEPS = 60
"""Moments at which the world changes; in between it stands still."""


@dataclass(frozen=True)
class _World:
    """Who and what there is. born: when a user or an item appears, as a fraction of the span; negative = before it.

    activity: relative rate of a user; mildness: how easily a user likes; taste: [users, genres]; genre: int64 [items];
    fame: log of an item's share by its place in the long tail; appeal: how well it is liked by those who meet it.
    """

    user_born: NDArray[np.float64]
    activity: NDArray[np.float64]
    mildness: NDArray[np.float64]
    taste: NDArray[np.float64]
    item_born: NDArray[np.float64]
    genre: NDArray[np.int64]
    fame: NDArray[np.float64]
    appeal: NDArray[np.float64]

    def moved(self, draw: np.random.Generator, wander: float) -> _World:
        """The world one step later: as much of the old taste and appeal fades as comes anew, so none grows extreme."""
        kept = np.sqrt(1 - wander**2)
        taste = kept * self.taste + wander * draw.standard_normal(self.taste.shape)
        return replace(self, taste=taste, appeal=kept * self.appeal + wander * draw.standard_normal(len(self.appeal)))


def drifting_stream(
    interactions: int,
    users: int,
    items: int,
    seed: int,
    explicit: bool = False,
    days: float = 30.0,
    genres: int = 8,
    drift: float = 1.0,
) -> Interactions:
    """Exactly `interactions` rows over `days`, in order of event time: whole seconds, which every time unit can hold.

    Ids are integers below 10 times `users` (`items`) whose order says nothing; some may never occur. Implicit:
    positives only. Explicit: users also meet what they do not like, and a label is 1 with the probability that they
    like it. drift: how far tastes wander and how fast items fade; at 0 nothing changes but births.
    Raises ValueError for sizes < 1.
    """
    if min(interactions, users, items, genres) < 1 or days <= 0:
        raise ValueError("interactions, users, items, genres and days must be positive")
    draw = rng(seed, 0, "drifting stream")
    world = _world(draw, users, items, genres)
    wander = min(1.0, 0.2 * drift)
    when = np.sort(draw.random(interactions))
    borders = np.searchsorted(when, np.arange(_STEPS + 1) / _STEPS)
    columns = []
    for step in range(_STEPS):
        now = when[borders[step] : borders[step + 1]]
        columns.append(_step(draw, world, now, step / _STEPS, drift, explicit))
        world = world.moved(draw, wander)
    user, item, label = (np.concatenate(column) for column in zip(*columns, strict=True))
    times = (START + np.floor(when * days * 86_400).astype(np.int64)) * _MICROSECONDS
    user_ids, item_ids = (draw.permutation(10 * n)[:n].astype(np.int64) for n in (users, items))
    return Interactions(user_ids[user], item_ids[item], times, label.astype(np.float32))


def _world(draw: np.random.Generator, users: int, items: int, genres: int) -> _World:
    """Half of the users and of the items are there from the beginning; the others come evenly over time."""
    return _World(
        user_born=_births(draw, users),
        activity=draw.lognormal(sigma=1.0, size=users),
        mildness=draw.standard_normal(users),
        taste=draw.standard_normal((users, genres)),
        item_born=_births(draw, items),
        genre=np.arange(items) % genres,
        fame=-0.8 * np.log(1 + draw.permutation(items) // genres),
        appeal=draw.standard_normal(items),
    )


def _births(draw: np.random.Generator, count: int) -> NDArray[np.float64]:
    born = draw.random(count) * 2 - 1
    # However few there are, the first row needs a user and an item.
    born[0] = -1.0
    return born


def _step(
    draw: np.random.Generator,
    world: _World,
    when: NDArray[np.float64],
    now: float,
    drift: float,
    explicit: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Users, items and labels of rows at the times `when`, in the world as it stands `now` (fractions of the span)."""
    rows = len(when)
    user = _draw_weighted(draw, np.where(world.user_born <= now, world.activity, 0.0), rows)
    heat = np.where(world.item_born <= now, np.exp(world.fame - 4.0 * drift * (now - world.item_born)), 0.0)
    there = np.bincount(world.genre, weights=heat, minlength=world.taste.shape[1]) > 0
    # In an explicit stream every second item was met by chance: without dislikes nothing can be learned from labels.
    by_chance = draw.random(rows) < (0.5 if explicit else 0.05)
    genre = _draw_genres(draw, np.exp(2.0 * world.taste) * there, user)
    item = _draw_items(draw, heat, world.genre, genre, world.taste.shape[1])
    item[by_chance] = _draw_weighted(draw, heat, int(by_chance.sum()))
    if not explicit:
        return user, item, np.ones(rows, bool)
    likes = 1.5 * world.taste[user, world.genre[item]] + 1.5 * world.appeal[item] + world.mildness[user]
    return user, item, draw.random(rows) < 1 / (1 + np.exp(-likes))


def _draw_weighted(draw: np.random.Generator, weights: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    ends = np.cumsum(weights)
    return _reached(ends, draw.random(size) * ends[-1])


def _draw_genres(draw: np.random.Generator, liked: NDArray[np.float64], user: NDArray[np.int64]) -> NDArray[np.int64]:
    ends = np.cumsum(liked, axis=1)[user]
    return np.asarray((ends < draw.random((len(user), 1)) * ends[:, -1:]).sum(axis=1), np.int64)


def _draw_items(
    draw: np.random.Generator,
    heat: NDArray[np.float64],
    genre_of: NDArray[np.int64],
    genre: NDArray[np.int64],
    genres: int,
) -> NDArray[np.int64]:
    """One item of each wanted genre, by heat."""
    order = np.argsort(genre_of, kind="stable")
    ends = np.cumsum(heat[order])
    borders = np.searchsorted(genre_of[order], np.arange(genres + 1))
    low, high = np.append(0.0, ends)[borders[:-1]], np.append(0.0, ends)[borders[1:]]
    at = low[genre] + draw.random(len(genre)) * (high - low)[genre]
    return np.asarray(order[_reached(ends, np.minimum(at, np.nextafter(high, 0.0)[genre]))], np.int64)


def _reached(ends: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.int64]:
    """The stretch of a cumulated sum in which each point lies; rounding cannot lead behind its end."""
    return np.asarray(np.searchsorted(ends, np.minimum(at, np.nextafter(ends[-1], 0.0)), side="right"), np.int64)

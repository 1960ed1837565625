"""Who and what there is: users who differ in taste and activity, items with a genre and a place in the long tail.

Taste can be learned from who likes what, so that a model beats popularity, and preferences drift, so that a fresh model
beats an old one. Half of the users and items are there from the beginning; the others appear evenly over time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.randomness import rng
from stream_app.synthetic.drift import STEPS, drifting
from stream_app.synthetic.settings import SyntheticSettings

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]

_TAIL = 0.8
"""Exponent of the long tail: the item of rank r has r^-0.8 of the first one's share, all else being equal."""
_FADING = 2.0
"""An item loses a factor e^2 of its share over the span of the stream."""


@dataclass(frozen=True)
class World:
    """What stays as it is. born: when a user or item appears, as a fraction of the span; negative = before it.

    user_ids, item_ids: integers whose order says nothing. activity: relative rate of a user; mildness: how easily a
    user likes; genre: of an item; fame: log of an item's share by its place in the long tail.
    """

    user_ids: Numbers
    user_born: Values
    activity: Values
    mildness: Values
    item_ids: Numbers
    item_born: Values
    genre: Numbers
    fame: Values

    @staticmethod
    def of(settings: SyntheticSettings) -> World:
        """The world that the seed draws."""
        draw = rng(settings.seed, 0, "synthetic world")
        users, items = settings.users, settings.items
        return World(
            user_ids=_ids(draw, users),
            user_born=_births(draw, users),
            activity=draw.lognormal(sigma=1.0, size=users),
            mildness=draw.standard_normal(users) - 0.75,
            item_ids=_ids(draw, items),
            item_born=_births(draw, items),
            genre=np.arange(items) % settings.genres,
            fame=-_TAIL * np.log(1 + draw.permutation(items) // settings.genres),
        )


@dataclass(frozen=True)
class Moment:
    """What changes: the world at one step. now: fraction of the span that has passed at its beginning.

    taste: [users, genres], how a user likes a genre; appeal: [items], how an item is liked by those who meet it.
    """

    now: float
    taste: Values
    appeal: Values

    def active(self, world: World) -> Values:
        """Relative rate of each user; 0 before the user appears."""
        return np.where(world.user_born <= self.now, world.activity, 0.0)

    def heat(self, world: World) -> Values:
        """Relative share of each item among its genre; 0 before the item appears."""
        age = self.now - world.item_born
        return np.where(age >= 0, np.exp(world.fame - _FADING * age + 0.5 * self.appeal), 0.0)

    def liking(self, world: World, user: Numbers, item: Numbers) -> Values:
        """The probability with which each user likes that item."""
        likes = 1.5 * self.taste[user, world.genre[item]] + 1.5 * self.appeal[item] + world.mildness[user]
        return np.asarray(1 / (1 + np.exp(-likes)))


def moments(settings: SyntheticSettings) -> Iterator[Moment]:
    """The world step by step."""

    def path(of: str, shape: tuple[int, ...]) -> Iterator[Values]:
        def drawn(purpose: str, chapter: int) -> Values:
            return rng(settings.seed, chapter, f"synthetic {of} {purpose}").standard_normal(shape)

        return drifting(settings.drift, settings.strength, drawn)

    tastes, appeals = path("taste", (settings.users, settings.genres)), path("appeal", (settings.items,))
    for step, (taste, appeal) in enumerate(zip(tastes, appeals, strict=True)):
        yield Moment(step / STEPS, taste, appeal)


def _ids(draw: np.random.Generator, count: int) -> Numbers:
    return draw.permutation(10 * count)[:count].astype(np.int64)


def _births(draw: np.random.Generator, count: int) -> Values:
    born = draw.random(count) * 2 - 1
    # However few there are, the first row needs a user and an item.
    born[0] = -1.0
    return born

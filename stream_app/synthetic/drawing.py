"""Which rows a moment of the world makes: users by their activity, a genre by their taste, an item by its heat."""

from __future__ import annotations

import numpy as np

from stream_app.synthetic.world import Moment, Numbers, Values, World

_BY_CHANCE = {False: 0.5, True: 0.05}
"""Part of the rows whose item is met whatever its genre; implicit or not. Without dislikes, labels teach nothing."""


def met(draw: np.random.Generator, world: World, moment: Moment, rows: int, implicit: bool) -> tuple[Numbers, Numbers]:
    """(users, items) [rows], as numbers."""
    heat, genres = moment.heat(world), moment.taste.shape[1]
    user = _weighted(draw, moment.active(world), rows)
    by_chance = draw.random(rows) < _BY_CHANCE[implicit]
    there = np.bincount(world.genre, weights=heat, minlength=genres) > 0
    genre = _by_weight(draw, np.exp(2.5 * moment.taste[user]) * there)
    item = _of_genre(draw, heat, world.genre, genre, genres)
    item[by_chance] = _weighted(draw, heat, int(by_chance.sum()))
    return user, item


def _weighted(draw: np.random.Generator, weights: Values, size: int) -> Numbers:
    ends = np.cumsum(weights)
    return _reached(ends, draw.random(size) * ends[-1])


def _by_weight(draw: np.random.Generator, weights: Values) -> Numbers:
    """The column that each row draws by its weights [n, columns]."""
    ends = np.cumsum(weights, axis=1)
    drawn = draw.random((len(ends), 1)) * ends[:, -1:]
    # A column without weight has no stretch of its own; rounding cannot lead behind the last that has one.
    return np.asarray((ends <= np.minimum(drawn, np.nextafter(ends[:, -1:], 0.0))).sum(axis=1), np.int64)


def _of_genre(draw: np.random.Generator, heat: Values, genre_of: Numbers, genre: Numbers, genres: int) -> Numbers:
    """One item of each wanted genre, by heat."""
    order = np.argsort(genre_of, kind="stable")
    ends = np.cumsum(heat[order])
    borders = np.searchsorted(genre_of[order], np.arange(genres + 1))
    low, high = np.append(0.0, ends)[borders[:-1]], np.append(0.0, ends)[borders[1:]]
    at = low[genre] + draw.random(len(genre)) * (high - low)[genre]
    return np.asarray(order[_reached(ends, np.minimum(at, np.nextafter(high, 0.0)[genre]))], np.int64)


def _reached(ends: Values, at: Values) -> Numbers:
    """The stretch of a cumulated sum in which each point lies; rounding cannot lead behind its end."""
    return np.asarray(np.searchsorted(ends, np.minimum(at, np.nextafter(ends[-1], 0.0)), side="right"), np.int64)

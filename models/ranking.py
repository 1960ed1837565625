"""Ranking metrics on sampled candidates: how far up a list stands the item that a user chose next.

Each of some positives of a period is ranked among items drawn uniformly, with replacement, from those that the scored
model knows and on which the user has not been positive by the end of the period. User and history are the positive's.
The numbers compare models under one and the same sampling. They are not recall and NDCG over the whole catalogue: they
are far larger, and may even put two models in another order (Krichene and Rendle, "On Sampled Metrics for Item
Recommendation", KDD 2020). So the sampling is stated wherever they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.evaluation import logits_of
from models.learner_state import LearnerState
from models.learning import LearningSettings, device_of
from models.negatives import Taken, draw_negatives
from models.randomness import rng
from models.samples import Samples
from models.sampling import SamplerState


@dataclass(frozen=True)
class RankingSettings:
    """k: length of the list; candidates: items drawn for each positive; positives: looked at in a period, at most."""

    k: int = 10
    candidates: int = 99
    positives: int = 1000

    def __post_init__(self) -> None:
        for name in ("k", "candidates", "positives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Ranking:
    """Means over `positives` lists, NaN without any.

    recall: share of lists with their positive among the first k. ndcg: mean of 1 / log2(1 + place), and 0 behind place
    k: the normalized discounted cumulative gain of a list with one relevant item.
    """

    recall: float
    ndcg: float
    positives: int


def rankings(
    before: LearnerState, after: LearnerState, period: int, learning: LearningSettings, settings: RankingSettings
) -> dict[str, Ranking]:
    """Of each candidate that could serve the period, by its method: all rank the same lists.

    before, after: the learner's state before and after `learn` on that period; the draw hangs on seed and period alone.
    Empty while pretraining.
    """
    if not before.candidates:
        return {}
    samples = after.targets[-1].to("cpu")
    lists = drawn_lists(samples, before.sampler, after.sampler, settings, rng(learning.seed, period, "ranking"))
    lists = lists.to(device_of(learning))
    base = learning.suited(len(samples.category_offsets) > 0).base_model
    found = {}
    for method, parameters in before.candidates.items():
        logits = logits_of(base, parameters, lists)
        found[method] = ranking(logits.reshape(-1, 1 + settings.candidates), settings.k)
    return found


def drawn_lists(
    samples: Samples, before: SamplerState, after: SamplerState, settings: RankingSettings, draw: np.random.Generator
) -> Samples:
    """Lists to rank, one after the other: a positive of the period and then its drawn candidates, 1 + C samples each.

    samples: of the period, on the CPU; before, after: the sampler before and after it. Candidates are items known
    before, a positive may be a new one. Items have the categories that were known before, as whoever served the period
    saw them. A user who has been positive on all items is left out.
    """
    positives = np.flatnonzero(samples.labels.numpy() > 0.5)
    if len(positives) > settings.positives:
        positives = draw.choice(positives, settings.positives, replace=False)
    users = samples.users.numpy()[positives].astype(np.int32)
    none = np.empty(0, np.int64)
    taken, always = Taken(after.pairs, none, none), np.zeros(len(users), np.int64)
    of, items = draw_negatives(taken, users, always, settings.candidates, len(before.items), draw)
    listed, drawn = positives[of[:: settings.candidates]], items.reshape(-1, settings.candidates)
    lists = samples.select(torch.from_numpy(np.repeat(listed, 1 + settings.candidates)))
    targets = lists.items.reshape(-1, 1 + settings.candidates).clone()
    targets[:, 1:] = torch.from_numpy(drawn)
    lists = replace(lists, items=targets.flatten())
    return lists.with_categories(before.item_categories) if len(samples.category_offsets) else lists


def ranking(logits: Tensor, k: int) -> Ranking:
    """logits: [P, 1 + C], positives in column 0. Ties are broken in expectation: each order of them is as likely.

    A NaN among the logits makes both metrics NaN.
    """
    values: NDArray[np.float32] = logits.cpu().numpy()
    if not len(values) or bool(np.isnan(values).any()):
        return Ranking(math.nan, math.nan, len(values))
    above = (values[:, 1:] > values[:, :1]).sum(axis=1)
    places = 1 + (values[:, 1:] == values[:, :1]).sum(axis=1)
    place = np.arange(1, values.shape[1] + 1)
    return Ranking(
        recall=_expected(np.where(place <= k, 1.0, 0.0), above, places),
        ndcg=_expected(np.where(place <= k, 1 / np.log2(1 + place), 0.0), above, places),
        positives=len(values),
    )


def _expected(worth: NDArray[np.float64], above: NDArray[np.int64], places: NDArray[np.int64]) -> float:
    """Mean worth of lists whose positive is in any of the `places` places behind `above` others, each as likely."""
    sums = np.concatenate([[0.0], np.cumsum(worth)])
    return float(((sums[above + places] - sums[above]) / places).mean())

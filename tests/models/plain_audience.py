"""Audiences the plain way: sample by sample, item by item. Slow, float64."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.parameters import Parameters
from models.samples import Samples


def shown(theta: Parameters, samples: Samples, number: int) -> Tensor:
    """What one sample shows of its user: the user's row, then the mean of its history's rows."""
    low, high = int(samples.offsets[number]), int(samples.offsets[number + 1])
    history = [theta["item"][item].double() for item in samples.history[low:high].tolist()]
    mean = torch.stack(history).mean(0) if history else torch.zeros(8, dtype=torch.float64)
    return torch.cat([theta["user"][int(samples.users[number])].double(), mean])


def audience(periods: Sequence[Samples], entering: Sequence[Parameters], item: int) -> list[float]:
    """The audience of an item after `periods`, the i-th of which entered with the i-th of `entering`."""
    likes = [
        shown(theta, samples, number)
        for samples, theta in zip(periods, entering, strict=True)
        for number in range(len(samples))
        if int(samples.items[number]) == item and samples.labels[number] == 1
    ]
    return (sum(likes, torch.zeros(16, dtype=torch.float64)) / (len(likes) + 1)).tolist()

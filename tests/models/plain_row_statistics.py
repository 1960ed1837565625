"""Row statistics the plain way, from the algorithm's text: counts row by row, Adam number by number. Slow, float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from plain_generator import loss
from torch import Tensor

from models.parameters import Parameters
from models.samples import Batch, Samples

COLUMN = {"user": "users", "item": "items"}
WIDTHS = {"user": 6, "item": 6}
Features = Callable[[Sequence[Samples], str, int], list[float]]


def counts(periods: Sequence[Samples], table: str, row: int) -> tuple[float, float, float, float]:
    """P, n, l and e of a row, sample by sample."""
    positives = met = last = recent = 0.0
    for samples in periods:
        last = 0.0
        for subject, label in zip(getattr(samples, COLUMN[table]).tolist(), samples.labels.tolist(), strict=True):
            if subject == row:
                met += 1
                positives += label
                last += label
        recent = 0.5 * recent + last
    return positives, met, last, recent


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def phi(periods: Sequence[Samples], table: str, row: int) -> list[float]:
    """The features of a row, 0 < q < 1."""
    labels = [label for samples in periods for label in samples.labels.tolist()]
    q, m = sum(labels) / len(labels), 4
    positives, n, last, recent = counts(periods, table, row)
    return [
        1.0,
        math.log(1 + n) / 3,
        logit((positives + m * q) / (n + m)) - logit(q),
        1.0 if n == 0 else 0.0,
        math.log(1 + last) / 2,
        math.log(1 + recent) / 2,
    ]


def zeros(theta: Parameters, widths: Mapping[str, int]) -> dict[str, Tensor]:
    """A and B beside each other for each table, which has so many features; δ for every other tensor."""
    shapes = {name: (widths[name], 2, t.shape[1]) if name in widths else tuple(t.shape) for name, t in theta.items()}
    return {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}


def generated(
    weights: dict[str, Tensor], theta: Parameters, periods: Sequence[Samples], known: Features = phi
) -> dict[str, Tensor]:
    """Θ*, a row at a time."""
    after = {}
    for name, tensor in theta.items():
        if name not in COLUMN:
            after[name] = tensor.double() + weights[name]
            continue
        scale, shift = weights[name].unbind(1)
        rows = []
        for number, row in enumerate(tensor.double()):
            features = torch.tensor(known(periods, name, number), dtype=torch.float64)
            rows.append(row * (1 + features @ scale) + features @ shift)
        after[name] = torch.stack(rows)
    return after


class PlainRowStatistics:
    """The method as the text has it: Adam 1e-2 carried, one pass in batches, the running average serves."""

    def __init__(
        self,
        theta: Parameters,
        batch: int,
        average: int,
        known: Features = phi,
        widths: Mapping[str, int] = WIDTHS,
    ) -> None:
        self.weights, self.served = zeros(theta, widths), zeros(theta, widths)
        self.first, self.second = zeros(theta, widths), zeros(theta, widths)
        self.known = known
        self.step, self.batch, self.average = 0, batch, average

    def train(self, theta: Parameters, periods: Sequence[Samples], closed: Samples) -> None:
        """`theta` and `periods` as they were before `closed`; `theta` with a row for every id of `closed`."""
        for start in range(0, len(closed), self.batch):
            leaves = {name: tensor.clone().requires_grad_() for name, tensor in self.weights.items()}
            part = cut(closed, start, min(start + self.batch, len(closed)))
            gradients = torch.autograd.grad(
                loss(generated(leaves, theta, periods, self.known), part), list(leaves.values())
            )
            self._adam(dict(zip(leaves, gradients, strict=True)))

    def _adam(self, gradients: dict[str, Tensor]) -> None:
        self.step += 1
        for name, gradient in gradients.items():
            self.first[name] = 0.9 * self.first[name] + 0.1 * gradient
            self.second[name] = 0.999 * self.second[name] + 0.001 * gradient**2
            m, v = self.first[name] / (1 - 0.9**self.step), self.second[name] / (1 - 0.999**self.step)
            self.weights[name] = self.weights[name] - 0.01 * m / (v.sqrt() + 1e-8)
            share = 1 / min(self.average, self.step)
            self.served[name] = self.served[name] + (self.weights[name] - self.served[name]) * share


def cut(samples: Samples, start: int, stop: int) -> Batch:
    low, high = int(samples.offsets[start]), int(samples.offsets[stop])
    return Batch(
        samples.users[start:stop],
        samples.items[start:stop],
        samples.labels[start:stop].double(),
        samples.history[low:high],
        samples.offsets[start : stop + 1] - low,
    )

"""Base models that break one law each: Embedding & MLP with one thing wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from models.base_models.embedding_mlp import EmbeddingMlp
from models.parameters import Parameters, Sizes
from models.samples import Batch

Gradients = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class HasAGradientTwiceTooLarge(EmbeddingMlp):
    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(parameters, batch, scale)
        return logits, {**found, "item": 2 * found["item"]}


@dataclass(frozen=True)
class ForgetsOneWeight(EmbeddingMlp):
    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(parameters, batch, scale)
        return logits, {**found, "w1": found["w1"].index_fill(0, torch.tensor([3]), 0.0)}


@dataclass(frozen=True)
class IgnoresTheScale(EmbeddingMlp):
    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        return super().gradients(parameters, batch)


@dataclass(frozen=True)
class HandsBackProbabilities(EmbeddingMlp):
    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(parameters, batch, scale)
        return logits.sigmoid(), found


@dataclass(frozen=True)
class LeavesATensorOut(EmbeddingMlp):
    """Its users have no part in the logits."""

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(_without_users(parameters), batch)

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(_without_users(parameters), batch, scale)
        return logits, {**found, "user": torch.zeros_like(found["user"])}


@dataclass(frozen=True)
class DecaysItsTables(EmbeddingMlp):
    """Weight decay on whole tables: rows that nobody looks up have a gradient."""

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(parameters, batch, scale)
        return logits, {**found, "user": found["user"] + 1e-9 * parameters["user"]}


@dataclass(frozen=True)
class NormalisesOverTheBatch(EmbeddingMlp):
    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        logits = super().logits(parameters, batch)
        return logits - logits.mean()


RUNNING: dict[str, float] = {"mean": 0.0}


@dataclass(frozen=True)
class KeepsARunningMean(EmbeddingMlp):
    """What batch normalisation keeps: a state that is in no parameter."""

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(parameters, batch, scale)
        RUNNING["mean"] = 0.9 * RUNNING["mean"] + 0.1 * float(logits.mean())
        return logits, found

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(parameters, batch) - RUNNING["mean"]


@dataclass(frozen=True)
class DropsOut(EmbeddingMlp):
    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(parameters, batch) * (torch.rand(len(batch)) > 0.5)


@dataclass(frozen=True)
class CentresItsTables(EmbeddingMlp):
    """Its rows depend on each other: the mean of a table is not that of the rows in training."""

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(_centred(parameters), batch)

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        return super().gradients(_centred(parameters), batch, scale)


@dataclass(frozen=True)
class TakesRowZeroForPadding(EmbeddingMlp):
    """In training rows are numbered anew, and row 0 is an item like any other."""

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(_padded(parameters), batch)

    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        return super().gradients(_padded(parameters), batch, scale)


@dataclass(frozen=True)
class WritesToItsParameters(EmbeddingMlp):
    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        parameters["b1"].clamp_(max=0.1)
        return super().logits(parameters, batch)


@dataclass(frozen=True)
class WritesToTheBatch(EmbeddingMlp):
    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        batch.labels.clamp_(0.05, 0.95)
        return super().gradients(parameters, batch, scale)


@dataclass(frozen=True)
class HasNoMeanOfNothing(EmbeddingMlp):
    """An empty history is divided by its length."""

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(parameters, batch) + 0 / batch.offsets.diff()


@dataclass(frozen=True)
class ReturnsAColumn(EmbeddingMlp):
    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(parameters, batch)[:, None]


@dataclass(frozen=True)
class HasAColdRowOfItsOwn(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        fresh = super().init(sizes, seed, initialisation)
        return {**fresh, "item": fresh["item"] + 0.01}


@dataclass(frozen=True)
class DrawsWithoutASeed(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        return {name: tensor * torch.rand(()) for name, tensor in super().init(sizes, seed, initialisation).items()}


@dataclass(frozen=True)
class BeginsInDoubles(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        return {name: tensor.double() for name, tensor in super().init(sizes, seed, initialisation).items()}


@dataclass(frozen=True)
class BeginsWithNaN(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        return {**super().init(sizes, seed, initialisation), "b1": torch.tensor([float("nan")])}


@dataclass(frozen=True)
class BeginsWithoutATable(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        return {n: tensor for n, tensor in super().init(sizes, seed, initialisation).items() if n != "item"}


@dataclass(frozen=True)
class BeginsWithoutColdRows(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        fresh = super().init(sizes, seed, initialisation)
        return {**fresh, "user": fresh["user"][1:]}


@dataclass(frozen=True)
class HasOneSeedOnly(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        return super().init(sizes, 0, initialisation)


@dataclass(frozen=True)
class DrawsRowsByTheirNumber(EmbeddingMlp):
    """A row depends on how many are drawn with it."""

    def grown(self, parameters: Parameters, limits: Mapping[str, float], sizes: Sizes, *names: int) -> Parameters:
        born = super().grown(parameters, limits, sizes, *names)
        return {**born, "user": torch.cat([parameters["user"], born["user"][len(parameters["user"]) :].flip(0)])}


@dataclass(frozen=True)
class Shrinks(EmbeddingMlp):
    def grown(self, parameters: Parameters, limits: Mapping[str, float], sizes: Sizes, *names: int) -> Parameters:
        short = {name: t[: sizes[self.tables[name]]] if name in self.tables else t for name, t in parameters.items()}
        return super().grown(short, limits, sizes, *names)


@dataclass(frozen=True)
class HasALimitBelowZero(EmbeddingMlp):
    def limits(self, sizes: Sizes) -> dict[str, float]:
        return dict.fromkeys(self.tables, -1.0)


@dataclass(frozen=True)
class ForgetsALimit(EmbeddingMlp):
    def limits(self, sizes: Sizes) -> dict[str, float]:
        return {"user": 0.1}


@dataclass(frozen=True)
class ForgetsAGradient(EmbeddingMlp):
    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(parameters, batch, scale)
        return logits, {name: gradient for name, gradient in found.items() if name != "b2"}


@dataclass(frozen=True)
class HasAGradientOfAnotherShape(EmbeddingMlp):
    def gradients(self, parameters: Parameters, batch: Batch, scale: float = 1.0) -> Gradients:
        logits, found = super().gradients(parameters, batch, scale)
        return logits, {**found, "b2": found["b2"][None]}


@dataclass(frozen=True)
class TakesTheFirstForUsers(EmbeddingMlp):
    """Counts on the order in which parameters are named."""

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        return super().logits(parameters, batch) + next(iter(parameters.values())).sum()


@dataclass(frozen=True)
class TrainsItsColdRows(EmbeddingMlp):
    def grown(self, parameters: Parameters, limits: Mapping[str, float], sizes: Sizes, *names: int) -> Parameters:
        grown = dict(super().grown(parameters, limits, sizes, *names))
        if len(grown["user"]) > 12:
            grown["user"] = torch.cat([grown["user"][1:].mean(0, keepdim=True), grown["user"][1:]])
        return grown


@dataclass(frozen=True)
class HasATableOfWords(EmbeddingMlp):
    tables: ClassVar[Mapping[str, str]] = {"user": "user", "item": "word"}


@dataclass(frozen=True)
class HasNoName(EmbeddingMlp):
    name: str = ""


@dataclass(frozen=True)
class LacksACall:
    tables: ClassVar[Mapping[str, str]] = {"user": "user"}
    name: str = "hostile"


@dataclass(frozen=True)
class TakesTooFewArguments(EmbeddingMlp):
    def init(self, sizes: Sizes) -> Parameters:
        return super().init(sizes, 0, 0)


@dataclass(frozen=True)
class HasASettingThatIsNoValue(EmbeddingMlp):
    activation: Any = field(default=torch.relu)


@dataclass(frozen=True)
class CannotBegin(EmbeddingMlp):
    def init(self, sizes: Sizes, seed: int, initialisation: int) -> Parameters:
        raise NotImplementedError("made with init_from only")


def _without_users(parameters: Parameters) -> Parameters:
    return {**parameters, "user": torch.zeros_like(parameters["user"])}


def _centred(parameters: Parameters) -> Parameters:
    return {**parameters, "item": parameters["item"] - parameters["item"].mean(0)}


def _padded(parameters: Parameters) -> Parameters:
    return {**parameters, "item": parameters["item"].index_fill(0, torch.tensor([0]), 0.0)}

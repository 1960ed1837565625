"""`iu+statistics`: plain incremental update whose MLP is given φ of the user and of the target item as 12 more inputs.

The question it answers: is the row-statistics generator a generator, or are these features in disguise? The network is
wider by 12 inputs; samples, pretraining, training and scoring are those of the learner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from models.base_models.embedding_mlp import EmbeddingMlp
from models.evaluation import evaluate
from models.interactions import Interactions
from models.learning import LearningSettings, prepare_process
from models.meta_generators.statistics import FEATURES, Statistics
from models.metrics import Score
from models.parameters import Parameters, Sizes
from models.pretraining import pretrain
from models.randomness import rng
from models.samples import Batch, Samples
from models.sampling import SamplerState, sample
from models.training import Snapshot, train


@dataclass(frozen=True, eq=False)
class FeaturedBatch(Batch):
    """phi: float32 [B, 12], of user and target item, as of before the period."""

    phi: Tensor = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class FeaturedSamples(Samples):
    """phi: as in a batch, [n, 12]."""

    phi: Tensor = field(kw_only=True)

    @staticmethod
    def of(samples: Samples, statistics: Statistics, sizes: Sizes) -> FeaturedSamples:
        """With the features before the period of the samples."""
        known = statistics.grown(sizes)
        phi = [known.features("user", samples.users), known.features("item", samples.items)]
        return FeaturedSamples(**vars(samples), phi=torch.cat(phi, dim=1))

    @staticmethod
    def concatenate(parts: Sequence[FeaturedSamples]) -> FeaturedSamples:
        """All samples of the parts."""
        plain = Samples.concatenate([part.plain() for part in parts])
        return FeaturedSamples(**vars(plain), phi=torch.cat([part.phi for part in parts]))

    def plain(self) -> Samples:
        """Without the features."""
        return Samples(**{name: value for name, value in vars(self).items() if name != "phi"})

    def select(self, order: Tensor) -> FeaturedSamples:
        """Some of them."""
        return FeaturedSamples(**vars(self.plain().select(order)), phi=self.phi[order])

    def batches(self, size: int) -> Iterator[FeaturedBatch]:
        """Consecutive samples."""
        for start, batch in zip(range(0, len(self), size), super().batches(size), strict=True):
            yield FeaturedBatch(**vars(batch), phi=self.phi[start : start + size])


@dataclass(frozen=True)
class StatisticsMlp(EmbeddingMlp):
    """Embedding & MLP with 12 more inputs, which no table is behind."""

    def _widths(self) -> tuple[int, ...]:
        return (3 * self.width + 2 * FEATURES, *self.layers, 1)

    def _input(self, parameters: Parameters, batch: FeaturedBatch, weights: Sequence[Tensor]) -> list[Tensor]:
        return [*super()._input(parameters, batch, weights), batch.phi]

    def _into_tables(
        self, parameters: Parameters, batch: Batch, weights: Sequence[Tensor], flowing: Tensor
    ) -> dict[str, Tensor]:
        return super()._into_tables(parameters, batch, weights, flowing[:, : 3 * self.width])


def scores(periods: Sequence[Interactions], settings: LearningSettings) -> list[Score]:
    """Prequential scores of the periods after pretraining."""
    settings = replace(settings, base_model=StatisticsMlp())
    prepare_process(settings)
    base = settings.base_model
    sampler, statistics = SamplerState.start(), Statistics.start(("user", "item"))
    collected: list[FeaturedSamples] = []
    snapshot: Snapshot | None = None
    found: list[Score] = []
    for number, interactions in enumerate(periods, 1):
        before = sampler.sizes
        draws = (rng(settings.seed, number, purpose) for purpose in ("negatives", "training"))
        sampler, drawn = sample(sampler, interactions, settings.negatives, *draws)
        closed = FeaturedSamples.of(drawn, statistics, sampler.sizes)
        statistics = statistics.after(drawn, sampler.sizes)
        if snapshot is not None:
            found.append(evaluate(base, snapshot.parameters, closed))
        collected.append(closed)
        if number == settings.pretrain:
            snapshot = pretrain(FeaturedSamples.concatenate(collected[:-1]), closed, before, settings).best
        if snapshot is not None:
            snapshot = snapshot.grown(base, sampler.sizes, settings.seed)
            snapshot = train(snapshot, base, closed, settings.learning_rate, settings.batch)
    return found

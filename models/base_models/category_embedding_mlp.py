"""Embedding & MLP of a stream whose items have categories: a third table, and two more parts of the input.

With c(i) the mean of E_c over the categories of item i ("multi-hot mean"), zeros when it has none:

    x_0 = [E_u[user] ; mean of E_i[history] ; mean of c(history) ; E_i[item] ; c(item)]

40 wide at width 8; everything behind it is as in embedding_mlp.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from models.base_models.embedding_mlp import EmbeddingMlp
from models.parameters import CATEGORY, ITEM, USER, Parameters, Tables
from models.samples import Batch


@dataclass(frozen=True)
class CategoryEmbeddingMlp(EmbeddingMlp):
    """Settings as of `EmbeddingMlp`, except that hidden is (20, 10) by default; its table "category" is a third one."""

    tables: ClassVar[Tables] = {"user": USER, "item": ITEM, "category": CATEGORY}

    def _widths(self) -> tuple[int, ...]:
        return (5 * self.width, *self.layers, 1)

    @property
    def layers(self) -> tuple[int, ...]:
        return (20, 10) if self.hidden is None else self.hidden

    def _weights(self, parameters: Parameters, batch: Batch) -> Sequence[Tensor]:
        """[B, 1] of histories as of `EmbeddingMlp`; and for each category of a target, and for each of a history's
        entries, its share in the mean: [categories] and [history_categories]."""
        (one_over_lengths,) = super()._weights(parameters, batch)
        own = _shares(torch.ones_like(one_over_lengths[:, 0]), batch.category_offsets, len(batch.categories))
        entries = torch.repeat_interleave(one_over_lengths[:, 0], batch.offsets.diff(), output_size=len(batch.history))
        past = _shares(entries, batch.history_category_offsets, len(batch.history_categories))
        return [one_over_lengths, own, past]

    def _input(self, parameters: Parameters, batch: Batch, weights: Sequence[Tensor]) -> list[Tensor]:
        one_over_lengths, own, past = weights
        user, pooled, item = super()._input(parameters, batch, [one_over_lengths])
        table = parameters["category"]
        pooled_mean = _weighted_sums(table, batch.history_categories, past, _bags(batch))
        return [user, pooled, pooled_mean, item, _weighted_sums(table, batch.categories, own, batch.category_offsets)]

    def _into_tables(
        self, parameters: Parameters, batch: Batch, weights: Sequence[Tensor], flowing: Tensor
    ) -> dict[str, Tensor]:
        one_over_lengths, own, past = weights
        user, pooled, pooled_mean, item, item_mean = flowing.chunk(5, dim=1)
        plain = torch.cat([user, pooled, item], dim=1)
        gradients = super()._into_tables(parameters, batch, [one_over_lengths], plain)
        gradients["category"] = (
            torch.zeros_like(parameters["category"])
            .index_add_(0, batch.categories, _spread(item_mean, batch.category_offsets, own))
            .index_add_(0, batch.history_categories, _spread(pooled_mean, _bags(batch), past))
        )
        return gradients


def _bags(batch: Batch) -> Tensor:
    """[B + 1]: where the categories of each sample's history begin: all those of its entries make one bag."""
    return batch.history_category_offsets.index_select(0, batch.offsets)


def _shares(whole: Tensor, offsets: Tensor, total: int) -> Tensor:
    """[total]: what each entry of a ragged column gets when `whole` [rows] is divided equally within each row."""
    counts = offsets.diff()
    return torch.repeat_interleave(whole / counts.clamp(min=1), counts, output_size=total)


def _weighted_sums(table: Tensor, rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """[bags, width]: the sum of each bag's rows, each with its weight."""
    return F.embedding_bag(rows, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def _spread(gradient: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """[entries, width]: the gradient by each entry of the bags whose sums have this `gradient` [bags, width]."""
    owners = torch.repeat_interleave(offsets.diff(), output_size=len(weights))
    return gradient.index_select(0, owners).mul_(weights[:, None])

"""Scoring the samples of a period with a model that has not seen them (test-then-train)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.base_models.protocol import BaseModel
from models.metrics import Score, score
from models.parameters import Parameters, sizes_of
from models.samples import Samples, known_rows

BATCH = 8192
"""Samples scored at a time: large enough for BLAS, small enough to stay in the cache."""


def logits_of(base: BaseModel, parameters: Parameters, samples: Samples) -> Tensor:
    """[n]: the logit of each sample; an id unknown to `parameters` has the cold row."""
    known = known_rows(samples, sizes_of(parameters, base.tables))
    parts = [base.logits(parameters, batch) for batch in known.batches(BATCH)]
    return torch.cat(parts) if parts else samples.labels


def evaluate(base: BaseModel, parameters: Parameters, samples: Samples) -> Score:
    """Prequential metrics of `parameters`. Users unknown to them share the cold row, and are still told apart."""
    columns = (logits_of(base, parameters, samples), samples.labels, samples.users, samples.seen_items)
    return score(*(column.cpu().numpy() for column in columns))

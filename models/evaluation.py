"""Scoring the samples of a period with a model that has not seen them (test-then-train)."""

from __future__ import annotations

import torch

from models.base_models.protocol import BaseModel
from models.metrics import Score, score
from models.parameters import Parameters, sizes_of
from models.samples import Samples, known_rows

BATCH = 8192
"""Samples scored at a time: large enough for BLAS, small enough to stay in the cache."""


def evaluate(base: BaseModel, parameters: Parameters, samples: Samples) -> Score:
    """Prequential AUC and log loss of `parameters`, over all items and over items seen before the period."""
    known = known_rows(samples, sizes_of(parameters, base.tables))
    parts = [base.logits(parameters, batch) for batch in known.batches(BATCH)]
    logits = torch.cat(parts) if parts else samples.labels
    return score(logits.cpu().numpy(), samples.labels.cpu().numpy(), samples.seen_items.cpu().numpy())

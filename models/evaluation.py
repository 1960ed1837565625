"""Scoring the samples of a period with a model that has not seen them (test-then-train)."""

from __future__ import annotations

from dataclasses import replace

import torch

from models.base_models import AnyBaseModel
from models.metrics import Score, score
from models.parameters import Parameters
from models.samples import Samples

BATCH = 8192
"""Samples scored at a time: large enough for BLAS, small enough to stay in the cache."""


def known_rows(samples: Samples, parameters: Parameters) -> Samples:
    """The samples as `parameters` see them: ids born after them are on the cold row 0."""
    users, items = len(parameters["user"]), len(parameters["item"])
    return replace(
        samples,
        users=samples.users * (samples.users < users),
        items=samples.items * (samples.items < items),
        history=samples.history * (samples.history < items),
    )


def evaluate(base_model: AnyBaseModel, parameters: Parameters, samples: Samples) -> Score:
    """Prequential AUC and log loss of `parameters`, over all items and over items seen before the period."""
    known = known_rows(samples, parameters)
    parts = [base_model.logits(parameters, batch) for batch in known.batches(BATCH)]
    logits = torch.cat(parts) if parts else samples.labels
    return score(logits.cpu().numpy(), samples.labels.cpu().numpy(), samples.seen_items.cpu().numpy())

"""Scoring a period's samples: what the model does not know is scored by its cold row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from models.base_models.embedding_mlp import EmbeddingMlp
from models.evaluation import evaluate, logits_of
from models.samples import Samples

MODEL = EmbeddingMlp()


def samples(users: list[int], items: list[int], labels: list[int]) -> Samples:
    n = len(users)
    return Samples(
        users=torch.tensor(users),
        items=torch.tensor(items),
        labels=torch.tensor(labels, dtype=torch.float32),
        history=torch.empty(0, dtype=torch.int64),
        offsets=torch.zeros(n + 1, dtype=torch.int64),
        seen_users=torch.ones(n, dtype=torch.bool),
        seen_items=torch.ones(n, dtype=torch.bool),
    )


def test_users_that_the_model_does_not_know_share_its_cold_row_and_are_told_apart_by_gauc() -> None:
    parameters = MODEL.init({"user": 3, "item": 9}, 0, 0)
    users, labels = [5, 5, 5, 6, 6, 6, 6], [0, 0, 1, 0, 1, 1, 0]
    given = samples(users, [1, 2, 3, 4, 5, 6, 8], labels)
    logits = logits_of(MODEL, parameters, given).numpy()
    assert np.array_equal(logits, logits_of(MODEL, parameters, samples([0] * 7, given.items.tolist(), labels)).numpy())
    one, other = (roc_auc_score(labels[part], logits[part]) for part in (slice(3), slice(3, 7)))
    assert one != other
    assert evaluate(MODEL, parameters, given).gauc == pytest.approx((3 * one + 4 * other) / 7, abs=1e-12)

"""Base models: parameters and a batch in, logits and gradients out. One file each, listed in `AnyBaseModel`.

A base model is a frozen dataclass: its settings, among them `name`; it holds no tensors. Training, generators and
scoring call `init`, `limits`, `grown`, `logits` and `gradients`, as `embedding_mlp.py` documents them.
"""

from __future__ import annotations

from models.base_models.embedding_mlp import EmbeddingMlp

AnyBaseModel = EmbeddingMlp

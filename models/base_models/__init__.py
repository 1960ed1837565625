"""Base models: parameters and a batch in, logits and gradients out. One file each, listed in `AnyBaseModel`.

A base model is a frozen dataclass: its settings, among them `name`; it holds no tensors. What training, generators and
scoring ask of it is in `protocol.py`.
"""

from __future__ import annotations

from models.base_models.embedding_mlp import EmbeddingMlp
from models.base_models.matrix_factorization import MatrixFactorization

AnyBaseModel = EmbeddingMlp | MatrixFactorization

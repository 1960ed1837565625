"""The base models that numpy serves, one file each; a new one is added to `NETWORKS` under its name."""

from __future__ import annotations

from collections.abc import Mapping

from stream_app.serving.networks.embedding_mlp import EmbeddingMlpNetwork
from stream_app.serving.networks.matrix_factorization import MatrixFactorizationNetwork
from stream_app.serving.networks.network import NumpyNetwork

NETWORKS: Mapping[str, type[NumpyNetwork]] = {
    "embedding-mlp": EmbeddingMlpNetwork,
    "matrix-factorization": MatrixFactorizationNetwork,
}

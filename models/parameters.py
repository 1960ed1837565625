"""Parameters: the named tensors of one base model, never changed in place."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Parameters = Mapping[str, Tensor]
"""Name -> float32 tensor. Tables are [rows, width], one row per id of a vocabulary after row 0; the rest is dense.

Row 0 of a table is the cold row: what an id unknown to the model looks up. It is zeros and never trained.
"""

TABLES = ("user", "item")
"""Names of the tensors that are tables; every base model has both."""

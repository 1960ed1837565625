"""Parameters: the named tensors of one base model, never changed in place."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Parameters = Mapping[str, Tensor]
"""Name -> float32 tensor. Tables are [rows, width], one row per id of a vocabulary after row 0; the rest is dense.

Row 0 of a table is the cold row: what an id unknown to the model looks up. It is zeros and never trained.
"""

Tables = Mapping[str, str]
"""Which parameters are tables: name -> the vocabulary it has rows for. Its order is part of a base model."""

Sizes = Mapping[str, int]
"""Vocabulary -> rows of its tables, cold row included."""

USER, ITEM, CATEGORY = "user", "item", "category"
VOCABULARIES = (USER, ITEM, CATEGORY)


def sizes_of(parameters: Parameters, tables: Tables) -> dict[str, int]:
    """The rows of each vocabulary that has a table."""
    return {vocabulary: len(parameters[table]) for table, vocabulary in tables.items()}

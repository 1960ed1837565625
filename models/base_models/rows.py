"""The rows of tables: drawn so that a row born later is what it would have been, had the model begun with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from models.parameters import Parameters, Sizes, Tables
from models.randomness import uniform_rows


def grown(
    parameters: Parameters,
    tables: Tables,
    limits: Mapping[str, float],
    sizes: Sizes,
    seed: int,
    initialisation: int,
) -> dict[str, Tensor]:
    """The parameters with tables of these sizes; tensors are shared. Raises ValueError when a table would shrink."""
    tensors = dict(parameters)
    for table, vocabulary in tables.items():
        known, rows = tensors[table], sizes[vocabulary]
        if rows < len(known):
            raise ValueError(f"table {table!r} has {len(known)} rows and cannot shrink to {rows}")
        if rows > len(known):
            born = drawn(table, range(len(known), rows), known.shape[1], limits[table], seed, initialisation)
            tensors[table] = torch.cat([known, born.to(known)])
    return tensors


def drawn(tensor: str, rows: range, width: int, limit: float, seed: int, initialisation: int) -> Tensor:
    """float32 [len(rows), width], uniform in ± limit; a row does not depend on which others are drawn with it."""
    numbers = np.arange(rows.start, rows.stop, dtype=np.int64)
    return torch.from_numpy(uniform_rows(seed, f"init/{initialisation}/{tensor}", numbers, width) * np.float32(limit))


def glorot(ids: int, width: int) -> float:
    """Glorot's limit of a table with rows for so many ids."""
    return float((6 / (ids + width)) ** 0.5)

"""The few rows of long tables that a period or a minibatch looks up, numbered from 0: small tables of their own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.parameters import Sizes
from models.samples import AnySamples, renumbered


def local_rows(samples: AnySamples, sizes: Sizes) -> tuple[dict[str, Tensor], AnySamples]:
    """The rows of each vocabulary that the samples look up, int64 ascending, and the samples in the numbers of these.

    sizes: rows of each vocabulary that has tables. They are found by marks, not by sorting.
    """
    rows, places = {}, {}
    for vocabulary, size in sizes.items():
        columns = samples.rows(vocabulary)
        marked = torch.zeros(size, dtype=torch.bool, device=columns[0].device)
        for column in columns:
            marked.index_fill_(0, column, True)
        rows[vocabulary] = marked.nonzero()[:, 0]
        places[vocabulary] = torch.empty(size, dtype=torch.int64, device=marked.device)
        places[vocabulary][rows[vocabulary]] = torch.arange(len(rows[vocabulary]), device=marked.device)
    return rows, renumbered(samples, places)


def gathered(tables: Mapping[str, Tensor], rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those rows of each table that is named in `rows`; the other tensors as they are."""
    return {name: t.index_select(0, rows[name]) if name in rows else t for name, t in tables.items()}

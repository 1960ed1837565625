"""Ragged columns: the entries of all rows in turn, and offsets int64 [rows + 1].

Row r has entries[offsets[r]:offsets[r + 1]], as `embedding_bag` with `include_last_offset=True` takes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def positions(offsets: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Where the entries of `rows` (int64, any order) stand, row after row: int64 [total], and their new offsets."""
    lengths = offsets.diff()[rows]
    ends = torch.cat([offsets.new_zeros(1), lengths.cumsum(0)])
    first = torch.repeat_interleave(offsets[:-1][rows] - ends[:-1], lengths)
    return first.add_(torch.arange(len(first), device=first.device)), ends


def joined(parts: Sequence[Tensor]) -> Tensor:
    """The offsets of ragged columns put one after the other, from the offsets of each."""
    if not any(len(part) for part in parts):
        return parts[0]
    shifted, total = [], 0
    for part in parts:
        if len(part):
            shifted.append(part[:-1] + total)
            total += int(part[-1])
    return torch.cat([*shifted, shifted[0].new_tensor([total])])

"""What stands in a state's record: its small leaves, and where the large ones lie. Needs no torch, unlike `leaves`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Description = list[dict[str, Any]]
"""Per leaf {path, value} or {path, kind: "tensor" | "array", dtype, shape, blocks: digests in order}."""


def digests(described: Description) -> Iterator[bytes]:
    """The blocks that a description names."""
    for entry in described:
        yield from entry.get("blocks", ())


def total_bytes(described: Description) -> int:
    """Of all tensors and arrays together."""
    return sum(entry_bytes(entry) for entry in described if "blocks" in entry)


def entry_bytes(entry: Mapping[str, Any]) -> int:
    """Of one tensor or array."""
    shape: Sequence[int] = entry["shape"]
    return math.prod(shape) * int(np.dtype(entry["dtype"]).itemsize)

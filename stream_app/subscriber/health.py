"""What a subscriber says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Health:
    """One consistent look at a subscriber; `dataclasses.asdict` makes plain values of it. `Health()`: one just made.

    state: "waiting" until the first version is served. version, digest, run, epoch: of what is served (0 and ""
    before). source_offsets: all that it has learned lies below these offsets of the source partitions. times: what its
    envelope says of when it was closed, trained and sent. age: seconds since it was sent; since_swap: seconds since it
    began to serve here; None before the first. stale: whether it is older than `stale_after` allows. pinned: the
    version that an operator wants served, None when whatever is newest. lag: what was there at the last look and is
    not taken yet (offsets of a topic, versions of a directory), None when that is not known. swaps: versions served so
    far. refusals, last_refusal: versions or messages refused. stage: what the trainer says it does before the first
    version. trouble: why nothing can be read at the moment, "" if all is well.
    """

    state: Literal["waiting", "serving"] = "waiting"
    version: int = 0
    digest: str = ""
    run: str = ""
    epoch: int = 0
    source_offsets: Mapping[int, int] = field(default_factory=dict)
    times: Mapping[str, str | float | None] = field(default_factory=dict)
    age: float | None = None
    since_swap: float | None = None
    stale: bool = False
    pinned: int | None = None
    lag: int | None = None
    swaps: int = 0
    refusals: int = 0
    last_refusal: str = ""
    stage: str = ""
    trouble: str = ""

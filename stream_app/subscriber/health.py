"""What a subscriber says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Health:
    """One consistent look at a subscriber.

    state: "waiting" until the first version is served. version, digest, run, epoch: of what is served (0 and ""
    before). times: what its envelope says of when it was closed, trained and sent. swaps: versions served so far.
    refusals, last_refusal: versions or messages refused. stage: what the trainer says it does before the first
    version. trouble: why nothing can be read at the moment, "" if all is well. age: seconds since the last swap,
    None before the first.
    """

    state: Literal["waiting", "serving"]
    version: int
    digest: str
    run: str
    epoch: int
    times: Mapping[str, str | float | None]
    swaps: int
    refusals: int
    last_refusal: str
    stage: str
    trouble: str
    age: float | None

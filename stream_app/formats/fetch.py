"""Messages of one partition while they are decoded, and what has been decided about them so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_app.events.record import BadRow
from stream_app.formats.refusal import Refusal

Headers = Sequence[tuple[str, bytes | None]]
"""Those of one message, as the client gives them."""


@dataclass
class Fetch:
    """at: offsets; clock: Kafka timestamps in microseconds, below 0 for none; headers: () where nothing reads them."""

    values: Sequence[bytes | None]
    at: NDArray[np.int64]
    clock: NDArray[np.int64]
    headers: Sequence[Headers] = ()
    marks: list[tuple[int, int]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    filtered: int = 0

    def refuse(self, place: int, why: Refusal) -> None:
        """The message at this place is a bad one."""
        self.bad.append(BadRow(int(self.at[place]), why.reason, why.field, self.values[place], why.text))

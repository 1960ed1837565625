"""What decoding yields, whatever the format: valid rows as columns, watermark records, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.interactions import Interactions
from stream_app.events.record import BadRow


@dataclass(frozen=True)
class Decoded:
    """Some messages of one partition, or some rows of a recording, in their order.

    offsets: int64, of each interaction: its Kafka offset, or its row number (from 0) in a recording.
    marks: (offset, event time in microseconds) of the watermark records; END means infinity.
    bad: the refused ones, by offset. tombstones: messages without a value; they say nothing and are skipped.
    filtered: messages (of batched ones: rows) that `records.where` or `records.decoder` says are no interactions.
    """

    interactions: Interactions
    offsets: NDArray[np.int64]
    marks: tuple[tuple[int, int], ...]
    bad: tuple[BadRow, ...]
    tombstones: int = 0
    filtered: int = 0

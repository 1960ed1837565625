"""Event time per source partition: what is late, where it goes, and how far the stream as a whole has come.

1. The watermark of a partition is the largest event time seen there minus the lateness, or what its producer said in a
   watermark record, whichever is later. It never goes back.
2. A row is judged against its *own* partition at its own offset, so that neither batch borders nor the interleaving of
   partitions change the answer. Under the policy "next-period" a late row is assigned the watermark instead of its
   event time; under the others it enters no period, and is counted.
3. The stream as a whole is as far as its slowest partition. Rows assigned before that are final: no row can follow
   that would be assigned earlier.
4. A partition that ended or is idle holds nothing back, until something comes from it again. What comes then is
   assigned no time before the frontier (the end of the last closed period), so a closed period stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream_app.events.segment import END, Segment

Late = Literal["next-period", "dead-letter", "drop"]
"""What becomes of late rows: the period open when they come, the dead letters, or nothing but a count."""

LOWEST = -(2**63)
"""Earlier than every time."""


@dataclass(frozen=True)
class PartitionMark:
    """Where a source partition stands."""

    next_offset: int | None = None
    """The first offset not seen yet; None before the first segment, which may begin anywhere."""
    watermark: int | None = None
    """Microseconds; None before its first row or watermark record."""
    quiet: Literal["", "idle", "ended"] = ""
    rows: int = 0
    """Valid interactions that came, late ones too."""
    late: int = 0
    """How many of those rows were late."""
    dead_lettered: int = 0
    """How many of the late rows went to the dead letters."""
    dropped: int = 0
    """How many of the late rows were dropped."""


def assign(
    segment: Segment, mark: PartitionMark, lateness: int, frontier: int = LOWEST, policy: Late = "next-period"
) -> tuple[NDArray[np.int64], NDArray[np.bool_], PartitionMark]:
    """Judge the rows of a segment that follows `mark`; an END mark may only be its last record.

    lateness: microseconds; frontier: no row is assigned an earlier time than this; policy: only counted by.
    Returns assigned times int64 [n], late bool [n], and where the partition stands afterwards.
    """
    times = segment.interactions.times
    said = np.full(len(times) + 1, LOWEST, np.int64)
    said[0] = LOWEST if mark.watermark is None else mark.watermark
    finite = [(offset, time) for offset, time in segment.marks if time != END]
    if finite:
        offsets, floors = np.array(finite, np.int64).T
        np.maximum.at(said, np.searchsorted(segment.offsets, offsets), floors)
    own = np.maximum(times, LOWEST + lateness) - lateness  # no wrap around for times near the lowest
    said[:-1] = np.maximum(said[:-1], own)
    watermarks = np.maximum.accumulate(said)
    assigned = np.maximum(times, np.maximum(watermarks[:-1], frontier))
    late = assigned > times
    spoke = bool(len(times) or finite)
    ended = bool(segment.marks) and segment.marks[-1][1] == END
    count = int(np.count_nonzero(late))
    after = PartitionMark(
        next_offset=segment.next_offset,
        watermark=int(watermarks[-1]) if spoke else mark.watermark,
        quiet="ended" if ended else "" if spoke else mark.quiet,
        rows=mark.rows + len(times),
        late=mark.late + count,
        dead_lettered=mark.dead_lettered + (count if policy == "dead-letter" else 0),
        dropped=mark.dropped + (count if policy == "drop" else 0),
    )
    return assigned, late, after


def slowest(marks: Mapping[int, PartitionMark], partitions: int | None) -> tuple[int | None, tuple[int, ...]]:
    """The watermark of the whole stream and the partitions that hold it back.

    partitions: how many the source topic has, None while unknown.
    Returns (None, ()) while that is unknown or all are idle, (None, those not seen yet) while one has no watermark,
    (END, ()) when those that are not idle have ended (rule 4).
    """
    if partitions is None:
        return None, ()
    known = {number: marks.get(number, PartitionMark()) for number in {*range(partitions), *marks}}
    active = {number: mark for number, mark in known.items() if mark.quiet != "idle"}
    unseen = tuple(sorted(number for number, mark in active.items() if not mark.quiet and mark.watermark is None))
    if unseen or not active:
        return None, unseen
    times = {number: mark.watermark for number, mark in active.items() if not mark.quiet}
    if not times:
        return END, ()
    least = min(time for time in times.values() if time is not None)
    return least, tuple(sorted(number for number, time in times.items() if time == least))

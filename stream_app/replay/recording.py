"""A recording as the records of a segments topic: one source partition, offsets are row numbers, END is the last mark.

One that `asmg record` made of a topic gives the records that it holds. The cuts between segments depend on the
recording alone, so that a replay that is resumed sees the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from models.interactions import Interactions
from stream_app.errors import BadInput
from stream_app.events.periods import EqualCount
from stream_app.events.record import BadRow, RecordSettings
from stream_app.events.segment import END, PartitionSet, Segment, SegmentsRecord
from stream_app.events.watermark import Late
from stream_app.formats import recording as files
from stream_app.formats import segments_reader
from stream_app.formats.decoded import Decoded

Recording = Path | Iterable[Interactions]

SEGMENT_ROWS = 100_000

DIGEST = "recording.sha256"
"""The recording among the fixed settings of a journal; one that was filled by a topic has none."""


def records_of(
    recording: Recording, records: RecordSettings, bad: Callable[[Sequence[BadRow]], None]
) -> Iterator[SegmentsRecord]:
    """What `collect` would have written had the recording come through a topic with one partition.

    One of `asmg record` says what `collect` has written. bad: given the rows that are no valid interactions, as they
    are met. Raises BadInput.
    """
    if isinstance(recording, Path) and files.is_of_segments(recording):
        yield from segments_reader.records(recording, records)
        return
    yield PartitionSet(1)
    offset = 0
    for decoded in _decoded(recording, records):
        if decoded.bad:
            bad(decoded.bad)
        end = _end(decoded, offset)
        yield Segment(0, offset, end, decoded.offsets, decoded.interactions, decoded.marks)
        offset = end
    nothing = Interactions.empty(records.user_ids, records.item_ids, bool(records.categories))
    yield Segment(0, offset, offset + 1, np.empty(0, np.int64), nothing, ((offset, END),))


def equal_periods(
    recording: Recording, records: RecordSettings, number: int, lateness: float, late: Late = "next-period"
) -> EqualCount:
    """`number` periods of equal size over the whole recording: count = floor(valid rows / number).

    What is left of the rows after that stays open, fewer than `number` rows. Where late rows enter no period, the last
    periods may not fill. Reads the recording once. Raises BadInput when it has fewer valid rows than periods.
    """
    rows = sum(len(decoded.interactions) for decoded in _decoded(recording, records))
    if rows < number:
        name = recording if isinstance(recording, Path) else "the recording"
        raise BadInput(name, f"{rows} valid interactions cannot fill {number} periods", "ask for fewer periods")
    return EqualCount(count=rows // number, lateness=lateness, late=late)


def digest_of(recording: Recording, records: RecordSettings) -> str | None:
    """SHA-256 (hex) of a recording's bytes; None for one that is no file.

    Reads its first rows as well: raises BadInput for a file or a column that is not there or not what it should be.
    """
    if not isinstance(recording, Path):
        return None
    next(_decoded(recording, records), None)
    try:
        with recording.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(recording, f"cannot be read: {error.strerror}", "name an existing recording") from error


def _decoded(recording: Recording, records: RecordSettings) -> Iterator[Decoded]:
    if isinstance(recording, Path):
        yield from files.read(recording, records, SEGMENT_ROWS)
        return
    offset = 0
    for interactions in recording:
        yield Decoded(interactions, np.arange(offset, offset + len(interactions), dtype=np.int64), (), ())
        offset += len(interactions)


def _end(decoded: Decoded, offset: int) -> int:
    last = [int(decoded.offsets[-1])] if len(decoded.offsets) else []
    last += [row.offset for row in decoded.bad[-1:]] + [at for at, _ in decoded.marks[-1:]]
    return max(last, default=offset - 1) + 1

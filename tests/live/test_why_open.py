"""What `asmg status` says of an open period."""

from __future__ import annotations

import pytest

from stream_app.events.periods import AnyPeriods, EqualCount, EventTime
from stream_app.events.segment import END
from stream_app.live.seeing.why_open import time_text, why_open
from stream_app.store.journal_view import OpenPeriod

COUNT, HOUR = EqualCount(count=10_000, lateness=60), EventTime(length=3600)
SECOND = 1_000_000


def found(
    rows: int, watermark: int | None, held_back_by: tuple[int, ...] = (), partitions: int | None = 4
) -> OpenPeriod:
    return OpenPeriod(rows, watermark, held_back_by, {}, partitions)


@pytest.mark.parametrize(
    ("period", "kind", "said"),
    [
        (found(0, None, (), None), COUNT, "how many partitions"),
        (found(50, None, (2, 3)), COUNT, "partition 2 has no rows yet: it holds back the watermark"),
        (found(6_796, 5, (0,)), COUNT, "needs 3,204 more rows"),
        (found(12_000, 0, (1,)), COUNT, "not 10,000 from before the watermark, 1970-01-01T00:00:00.000Z"),
        (found(12_000, 0, (1,)), COUNT, "partition 1 holds the watermark back"),
        (found(12_000, 0, (1, 3)), COUNT, "partitions 1, 3 hold the watermark back"),
        (found(7, (2 * 3600 - 12) * SECOND, (1,)), HOUR, "the watermark is 12.0 s before the end of the period"),
        (found(204, END), COUNT, "all partitions have ended: the remaining 204 rows stay open\na period has 10,000"),
        (found(0, END), COUNT, "all partitions have ended: nothing is left open"),
    ],
)
def test_the_reason_is_named(period: OpenPeriod, kind: AnyPeriods, said: str) -> None:
    assert said in "\n".join(why_open(period, kind))


def test_a_time_beyond_every_calendar_is_still_told() -> None:
    assert time_text(2**62) == f"{2**62} us"
    assert time_text(0) == "1970-01-01T00:00:00.000Z"

"""Why the open period has not closed, in words."""

from __future__ import annotations

from stream_app.events.periods import AnyPeriods, EqualCount
from stream_app.events.record import MICROSECONDS
from stream_app.events.segment import END
from stream_app.store.journal_view import OpenPeriod
from stream_app.telemetry import utc


def why_open(found: OpenPeriod, periods: AnyPeriods) -> tuple[str, ...]:
    """Everything that the open period waits for; at least one reason, the first thing to look at first."""
    if found.partitions is None:
        return ("no collector has said yet how many partitions the topic has",)
    if found.watermark is None:
        silent = [f"partition {n} has no rows yet: it holds back the watermark" for n in found.held_back_by]
        return tuple(silent) or ("no partition has rows yet",)
    if found.watermark == END:
        if not found.rows:
            return ("all partitions have ended: nothing is left open",)
        ended = f"all partitions have ended: the remaining {found.rows:,} rows stay open"
        return (ended, f"a period has {periods.count:,}") if isinstance(periods, EqualCount) else (ended,)
    if isinstance(periods, EqualCount):
        return _by_count(found, periods.count, periods.lateness)
    return _by_time(found, periods.length_us)


def _by_count(found: OpenPeriod, count: int, lateness: float) -> tuple[str, ...]:
    if found.rows < count:
        return (f"needs {count - found.rows:,} more rows",)
    return (
        f"has rows enough, but not {count:,} from before the watermark, {time_text(found.watermark)}",
        f"{_held_back(found)} until rows come whose time is {lateness:g} s (lateness) later",
    )


def _by_time(found: OpenPeriod, length: int) -> tuple[str, ...]:
    watermark = found.watermark or 0
    left = (length - watermark % length) / MICROSECONDS
    return (f"the watermark is {left:,.1f} s before the end of the period", _held_back(found))


def _held_back(found: OpenPeriod) -> str:
    named = ", ".join(str(n) for n in found.held_back_by)
    plural = len(found.held_back_by) > 1
    return f"partition{'s' * plural} {named} hold{'' if plural else 's'} the watermark back"


def time_text(microseconds: int | None) -> str | None:
    """An event time as UTC text; as a plain number where no calendar reaches."""
    if microseconds is None:
        return None
    try:
        return utc(microseconds / MICROSECONDS)
    except (ValueError, OverflowError, OSError):
        return f"{microseconds} us"

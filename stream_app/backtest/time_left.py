"""How long a backtest will still take, from what its passes and periods have taken so far."""

from __future__ import annotations

from collections.abc import Iterable

from stream_app.backtest.job import At


class TimeLeft:
    """Told where each job stands. The clock is passed in: seconds, from wherever.

    passes, periods: of a whole seed; pretrain: of those periods, the first that are only collected, which is quick.
    """

    def __init__(self, seeds: Iterable[int], passes: int, periods: int, pretrain: int, at_once: int) -> None:
        self._whole = {"pass": passes, "period": periods - pretrain}
        self._pretrain, self._at_once = pretrain, at_once
        self._done = {seed: dict.fromkeys(self._whole, 0) for seed in seeds}
        self._since: dict[int, float] = {}
        self._spent, self._measured = dict.fromkeys(self._whole, 0.0), dict.fromkeys(self._whole, 0)

    def told(self, seed: int, at: At, now: float) -> None:
        """A job stands here. What it did in one go before it said so (it was resumed) is not measured."""
        before = self._done[seed]
        after = {"pass": at.passes, "period": max(0, at.periods - self._pretrain)}
        steps = {kind: after[kind] - before[kind] for kind in after}
        for kind, count in steps.items():
            if count == 1 and sum(steps.values()) == 1 and seed in self._since:
                self._spent[kind] += now - self._since[seed]
                self._measured[kind] += 1
        if any(steps.values()) or seed not in self._since:
            self._since[seed] = now
        self._done[seed] = after

    @property
    def steps(self) -> tuple[int, int]:
        """Passes and periods: how many are done, and how many there are."""
        done = sum(sum(counts.values()) for counts in self._done.values())
        return done, sum(self._whole.values()) * len(self._done)

    def seconds(self) -> float | None:
        """Until the end, None before anything was measured; a kind of step not seen yet counts as the other one."""
        means = {kind: self._spent[kind] / count for kind, count in self._measured.items() if count}
        if not means:
            return None
        other = max(means.values())
        left = [
            sum((self._whole[kind] - count) * means.get(kind, other) for kind, count in done.items())
            for done in self._done.values()
        ]
        # No job can be shared between processes: the longest is the least that it takes.
        return max(sum(left) / self._at_once, *left)


def spoken(seconds: float | None) -> str:
    """A length of time as people say it."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"

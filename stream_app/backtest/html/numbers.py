"""The numbers of a report.json as a page needs them: arrays over seeds and periods, NaN for what is not defined."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import Calibration
from models.metrics.calibration import BINS


class Numbers:
    """A view of one report. methods: names, the baseline first; seeds: S of them; periods: the T scored ones, in order.

    They are those of all runs; where a run lacks a period it has NaN.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report = report
        self.methods: Sequence[str] = report["methods"]
        self.seeds: Sequence[int] = report["seeds"]
        self._runs = [{period["period"]: period for period in run["periods"]} for run in report["runs"]]
        everything = {number: period for run in reversed(self._runs) for number, period in run.items()}
        self.all_periods: Sequence[Mapping[str, Any]] = [everything[number] for number in sorted(everything)]
        self.periods = [period["period"] for period in self.all_periods if any(self._scores(period["period"]))]
        self.last = min(int(report["last"]), len(self.periods))

    def values(self, method: str, metric: str) -> NDArray[np.float64]:
        """float64 [S, T]."""
        rows = [[_number(scores.get(method, {}).get(metric)) for scores in row] for row in self._by_seed()]
        values: NDArray[np.float64] = np.array(rows, np.float64).reshape(len(self._runs), len(self.periods))
        return values

    def metrics(self) -> list[str]:
        """Every metric that some method has in some period, in the order of the report."""
        scores = [by_method for row in self._by_seed() for by_method in row]
        return list(dict.fromkeys(metric for each in scores for values in each.values() for metric in values))

    def calibration(self, method: str) -> Calibration:
        """Sums over all seeds and scored periods."""
        total = Calibration.none()
        for run in self._runs:
            for period in run.values():
                bins = period.get("calibration", {}).get(method) or [[0, 0.0, 0]] * BINS
                count, predicted, positives = zip(*bins, strict=True)
                total += Calibration(count, tuple(map(_number, predicted)), positives)
        return total

    def chosen(self) -> list[list[str | None]]:
        """[S][T]: what `auto` served, None where it did not run."""
        return [[run.get(number, {}).get("chosen") for number in self.periods] for run in self._runs]

    def gain(self, method: str, metric: str) -> Mapping[str, float | None]:
        """{"mean", "low", "high", "worst", "best"} of the summary; empty where there is none."""
        gains = (self.report["summary"].get(method) or {}).get("gain") or {}
        return gains.get(metric) or {}

    def mean(self, method: str, metric: str) -> float:
        """Of the summary; NaN where it is not defined."""
        return _number((self.report["summary"].get(method) or {}).get("metrics", {}).get(metric))

    def cost(self, method: str) -> tuple[float, float]:
        """Seconds per period, and how many times the baseline's; NaN where unknown."""
        summary = self.report["summary"].get(method) or {}
        return _number(summary.get("seconds_per_period")), _number(summary.get("times_iu"))

    def _by_seed(self) -> list[list[Mapping[str, Mapping[str, Any]]]]:
        return [[run.get(number, {}).get("scores") or {} for number in self.periods] for run in self._runs]

    def _scores(self, number: int) -> list[Mapping[str, Any]]:
        return [scores for run in self._runs if (scores := run.get(number, {}).get("scores"))]


def mean_over_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[S, T] to [T]: the mean of those that are defined, NaN where none is."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    sums = np.where(defined, values, 0.0).sum(axis=0)
    mean = np.full(values.shape[1], math.nan)
    np.divide(sums, count, out=mean, where=count > 0)
    return mean


def _number(value: Any) -> float:
    """NaN for what JSON has as null."""
    return math.nan if value is None else float(value)

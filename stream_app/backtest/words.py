"""A report in a few words: for each method one sentence about its gain over `iu`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_app.backtest.gains import HIGHER_IS_BETTER
from stream_app.backtest.summary import PLAIN

HEADLINES = {"auc": "AUC", "log_loss": "log loss"}
"""The metrics that are told in words, and how they are called."""

OneGain = Mapping[str, float | None]
"""{"mean", "low", "high", "worst", "best"} of a metric."""


def sentences(report: Mapping[str, Any]) -> list[str]:
    """One of each method, in the order of the report."""
    return [f"{method}: {_said(method, report['summary'][method])}." for method in report["methods"]]


def _said(method: str, found: Mapping[str, Any]) -> str:
    if method == PLAIN:
        levels = [f"{name} {number(found['metrics'][metric])}" for metric, name in HEADLINES.items()]
        return f"what the others are compared with; {', '.join(levels)}"
    gains = [f"{name} {_verdict(metric, found['gain'][metric])}" for metric, name in HEADLINES.items()]
    cost = [f"{found['times_iu']:.1f} times the cost"] if found["times_iu"] else []
    return "; ".join([*gains, *cost])


def _verdict(metric: str, gain: OneGain) -> str:
    low, high = gain["low"], gain["high"]
    if low is None or high is None:
        return signed(gain["mean"])
    verdict = "no sure difference"
    if low > 0 or high < 0:
        verdict = "better" if (low > 0) == (metric in HIGHER_IS_BETTER) else "worse"
    return f"{verdict}, {signed(gain['mean'])} ({between(gain)})"


def between(gain: OneGain) -> str:
    """The interval; a dash where there is none."""
    return "-" if gain["low"] is None else f"{signed(gain['low'])} to {signed(gain['high'])}"


def number(value: float | None) -> str:
    """To four places; a dash for what is not defined."""
    return "-" if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """The same with its sign."""
    return "-" if value is None else f"{value:+.4f}"

"""What a backtest found, in plain words: a verdict per method, names and numbers as people read them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from models.selection import AUTO
from stream_app.backtest.gains import HIGHER_IS_BETTER
from stream_app.backtest.html.numbers import Numbers
from stream_app.backtest.summary import PLAIN

NAMES = {
    "log_loss": "log loss",
    "auc": "AUC",
    "log_loss_seen_items": "log loss, items seen before",
    "auc_seen_items": "AUC, items seen before",
    "gauc": "GAUC",
    "normalized_entropy": "normalized entropy",
    "ece": "calibration error (ECE)",
    "calibration": "calibration ratio",
    "recall": "recall, sampled",
    "ndcg": "NDCG, sampled",
}
JUDGED = ("log_loss", "auc")
"""What a verdict is about: the loss by which `auto` chooses, and the metric that most papers report."""

BETTER, WORSE, SAME, MIXED, UNKNOWN = "better", "worse", "no difference", "mixed", "cannot be told"


@dataclass(frozen=True)
class Verdict:
    """word: one of the above; sentence: what it rests on."""

    word: str
    sentence: str


def verdict(numbers: Numbers, method: str) -> Verdict:
    """How a method compares with the baseline, from the 95 % intervals of its paired gains."""
    if method == PLAIN:
        return Verdict(
            "baseline",
            "Plain incremental update: the trained base model itself serves. The others are compared with it.",
        )
    judged = {metric: _direction(metric, numbers.gain(method, metric)) for metric in JUDGED}
    clauses = [clause for metric in JUDGED if (clause := _clause(metric, judged[metric], numbers.gain(method, metric)))]
    sentence = "; ".join(clauses)
    parts = [f"{sentence[:1].upper()}{sentence[1:]}." if sentence else "There is no number to compare."]
    _, times = numbers.cost(method)
    if not math.isnan(times):
        parts.append(f"A period costs {times:.1f} times what {PLAIN} costs.")
    if method == AUTO:
        parts.append(_served(numbers))
    return Verdict(_together(set(judged.values())), " ".join(filter(None, parts)))


def number(value: float | None, digits: int = 4) -> str:
    """A dash for what is not defined."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A gain, always with its sign."""
    return "–" if value is None or math.isnan(value) else f"{value:+.4f}".replace("-", "−")


def seconds(value: float) -> str:
    """Three digits."""
    return "–" if math.isnan(value) else f"{value:.3g} s"


def printable(text: object) -> str:
    """The text with a mark for everything that no page can show: control characters, bytes that are no text."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))


def _direction(metric: str, gain: Mapping[str, float | None]) -> str:
    low, high = gain.get("low"), gain.get("high")
    if low is None or high is None:
        return UNKNOWN
    if low <= 0 <= high:
        return SAME
    return BETTER if (low > 0) == (metric in HIGHER_IS_BETTER) else WORSE


def _clause(metric: str, direction: str, gain: Mapping[str, float | None]) -> str:
    mean, name = gain.get("mean"), NAMES[metric]
    if mean is None:
        return ""
    if direction == UNKNOWN:
        return f"{name} {signed(mean)}, too little data for an interval"
    if not any(gain.values()):
        return f"{name} the same as that of {PLAIN}"
    interval = f"95 %: {signed(gain['low'])} to {signed(gain['high'])}"
    if direction == SAME:
        return f"{name} {signed(mean)}, which may be chance ({interval})"
    return f"{name} {'higher' if mean > 0 else 'lower'} by {number(abs(mean))} ({interval})"


def _together(directions: set[str]) -> str:
    told = directions - {UNKNOWN}
    if not told:
        return UNKNOWN
    decided = told - {SAME}
    if len(decided) == 1:
        return decided.pop()
    return MIXED if decided else SAME


def _served(numbers: Numbers) -> str:
    counts = Counter(name for row in numbers.chosen() for name in row if name is not None)
    total = counts.total()
    shares = ", ".join(f"{printable(name)} in {count / total:.0%}" for name, count in counts.most_common())
    return f"It served {shares} of the periods." if shares else ""

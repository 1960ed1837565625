"""A report.json as `asmg backtest` writes it, with numbers that look like those of a real one."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

import numpy as np

METRICS = (
    *("auc", "log_loss", "auc_seen_items", "log_loss_seen_items"),
    *("gauc", "normalized_entropy", "ece", "calibration"),
)
EFFECT = {"iu": 0.0, "asmg-averaged": 0.001, "row-statistics": 0.02, "auto": 0.019}
LAST = 7


def report(
    methods: tuple[str, ...] = ("iu", "asmg-averaged", "row-statistics", "auto"),
    seeds: tuple[int, ...] = (0, 1, 2),
    periods: int = 12,
    pretrain: int = 4,
    name: str = "movietweetings_100k.parquet",
    metrics: tuple[str, ...] = METRICS,
    truth: bool = True,
) -> dict[str, Any]:
    """Of `periods` periods, `pretrain` of them without scores."""
    runs = [
        {"seed": s, "periods": [_period(p, s, methods, metrics, pretrain) for p in range(1, periods + 1)]}
        for s in seeds
    ]
    scored = list(range(pretrain + 1, periods + 1))
    floor = [[p, 0.40 + 0.01 * math.sin(p)] for p in scored]
    regret = {m: [[p, 0.12 - EFFECT.get(m, 0.0) + 0.01 * math.cos(p)] for p in scored] for m in methods}
    return {
        "format": 1,
        "recording": {"name": name, "sha256": "ab" * 32, "rows": 100_000},
        "settings": {
            "model": "default",
            "learning": {"pretrain": pretrain, "methods": [{"method": m} for m in methods]},
        },
        "machine": {"device": "cpu", "torch": "2.9.1"},
        "methods": list(methods),
        "seeds": list(seeds),
        "last": LAST,
        "interval": f"95%, of the mean paired gain over {len(seeds)} seeds",
        "runs": runs,
        "summary": {m: _summary(m, runs, metrics) for m in methods},
        "truth": {"log_loss": floor, "regret": regret} if truth else None,
    }


def _period(
    number: int, seed: int, methods: tuple[str, ...], metrics: tuple[str, ...], pretrain: int
) -> dict[str, Any]:
    scored = number > pretrain
    new = 400 // number
    return {
        "period": number,
        "interactions": 3225,
        "samples": 6450,
        **{"users_new": new, "users_seen": 900 + 10 * number, "items_new": new // 2, "items_seen": 700 + 5 * number},
        "chosen": (methods[1] if number % 4 and len(methods) > 1 else "iu") if scored and "auto" in methods else None,
        "scores": {m: _scores(m, number, seed, metrics) for m in methods} if scored else {},
        "calibration": {m: _bins(m, number, seed) for m in methods} if scored else {},
        "seconds": {"samples": 0.1, "scoring": 0.05, "training": 0.8},
    }


def _scores(method: str, number: int, seed: int, metrics: tuple[str, ...]) -> dict[str, float | None]:
    noise = np.random.default_rng([seed, number]).normal() * 0.004
    own = np.random.default_rng([seed, number, *method.encode("utf-8", "surrogatepass")]).normal() * 0.001
    effect = EFFECT.get(method, 0.0) + own
    values = {
        "auc": 0.77 + 0.002 * number + effect / 2 + noise,
        "log_loss": 0.57 - 0.004 * number - effect - noise,
        "auc_seen_items": 0.75 + 0.002 * number + effect / 3 + noise,
        "log_loss_seen_items": 0.58 - 0.004 * number - effect / 2 - noise,
        "gauc": 0.70 + effect / 2 + noise,
        "normalized_entropy": 0.82 - effect - noise,
        "ece": 0.03 - effect / 4,
        "calibration": 1.02 + noise,
        "recall": 0.41 + effect,
        "ndcg": 0.24 + effect,
    }
    return {metric: float(values[metric]) for metric in metrics}


def _bins(method: str, number: int, seed: int) -> list[list[float]]:
    bins = []
    for b in range(15):
        count = 40 + 60 * abs(7 - b)
        p = (b + 0.5) / 15
        bins.append([count, count * p, round(count * p ** (1.2 - 10 * EFFECT.get(method, 0.0) / 2))])
    return bins


def _summary(method: str, runs: list[dict[str, Any]], metrics: tuple[str, ...]) -> dict[str, Any]:
    def table(name: str, metric: str) -> Any:
        scored = [[p["scores"][name].get(metric) for p in run["periods"] if p["scores"]][-LAST:] for run in runs]
        return np.array([[math.nan if value is None else value for value in row] for row in scored], np.float64)

    gains = None
    if method != "iu":
        gains = {}
        for metric in metrics:
            gain = (table(method, metric) - table("iu", metric)).mean(axis=1)
            mean, reach = float(gain.mean()), 0.0015
            low, high = (mean - reach, mean + reach) if len(gain) > 1 else (None, None)
            gains[metric] = {
                "mean": mean,
                "low": low,
                "high": high,
                "worst": float(gain.min()),
                "best": float(gain.max()),
            }
    times = {"iu": 1.0, "asmg-averaged": 24.6, "row-statistics": 1.9, "auto": 2.0}.get(method, 1.5)
    return {
        "metrics": {metric: fmean(table(method, metric).flat) for metric in metrics},
        "gain": gains,
        "seconds_per_period": 0.81 * times,
        "times_iu": times,
    }

"""The bars for `auto` (algorithms.md): three real streams, 5 seeds, paired with `iu` on the same base and seed.

One learner run per stream and seed: samples, pretraining and base trajectory are shared by all methods. Reported is the
mean of the last 7 of 31 periods, over all items and over the items seen before the period; costs are of this run, one
thread: what a method takes per period is the training of the base model, its generator and its generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from benchmarks.in_memory import METRICS, STREAMS, Learned, Stream, last_means, learned
from models.learning import LearningSettings

SEEDS = (0, 1, 2, 3, 4)
GAINS = {"movietweetings_100k": (0.0037, -0.0038), "yelp2019": (0.0130, -0.0220), "globo": (0.0035, -0.0220)}
LEVELS = {"movietweetings_100k": 0.784, "yelp2019": 0.870, "globo": 0.985}
"""At least so much better than `iu` in AUC and log loss, mean over the seeds; the least served AUC."""
WORST = 0.001
"""No single run may be worse than `iu` by more."""


def run() -> dict[str, Any]:
    """Every stream with every seed, a line each as it ends."""
    runs: dict[str, list[dict[str, Any]]] = {stream.name: [] for stream in STREAMS}
    for seed in SEEDS:
        for stream in STREAMS:
            runs[stream.name].append(one(stream, seed))
            print(stream.name, runs[stream.name][-1], flush=True)
    found = {name: summary(seeds) for name, seeds in runs.items()}
    bounds = {text: met for name, means in found.items() for text, met in bars(name, means).items()}
    return {"runs": runs, "summary": found, "bounds": bounds}


def one(stream: Stream, seed: int) -> dict[str, Any]:
    """One run with the default settings."""
    settings = LearningSettings(negatives=stream.negatives, seed=seed, device="cpu")
    periods = [done for done in learned(stream.periods(), settings) if done.outcome.scores]
    outcomes = [done.outcome for done in periods]
    return {
        "seed": seed,
        "means": last_means(outcomes),
        "served": [outcome.served for outcome in outcomes],
        "seconds_per_period": costs(periods, [method.method for method in settings.methods]),
    }


def costs(periods: Sequence[Learned], methods: Sequence[str]) -> dict[str, float]:
    """Seconds per period by method, base training included; `auto` keeps all of them warm."""

    def mean(stage: str) -> float:
        return fmean(done.seconds.get(stage, 0.0) for done in periods)

    base = mean("training")
    own = {name: mean(f"generator {name}") + mean(f"generation {name}") for name in methods}
    return {**{name: base + spent for name, spent in own.items()}, "auto": base + sum(own.values())}


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Per method: mean of each metric over the seeds, the paired gain over `iu`, the worst of these, and the cost."""
    found = {}
    for method in runs[0]["means"]:
        means = {metric: [one["means"][method][metric] for one in runs] for metric in METRICS}
        plain = {metric: [one["means"]["iu"][metric] for one in runs] for metric in METRICS}
        gains = {metric: [a - b for a, b in zip(means[metric], plain[metric], strict=True)] for metric in METRICS}
        seconds = [one["seconds_per_period"] for one in runs]
        found[method] = {
            "mean": {metric: round(fmean(values), 5) for metric, values in means.items()},
            "gain": {metric: round(fmean(values), 5) for metric, values in gains.items()},
            "worst": {metric: round((min if "auc" in metric else max)(values), 5) for metric, values in gains.items()},
            "seconds_per_period": round(fmean(one[method] for one in seconds), 4),
            "times_iu": round(fmean(one[method] / one["iu"] for one in seconds), 2),
        }
    return found


def bars(stream: str, found: dict[str, Any]) -> dict[str, bool]:
    """Each bar as a sentence, and whether it is met."""
    auto, (auc, log_loss) = found["auto"], GAINS[stream]
    gain, worst = auto["gain"], auto["worst"]
    met = {
        f"AUC of auto - iu >= {auc:+.4f}": gain["auc"] >= auc,
        f"log loss of auto - iu <= {log_loss:+.4f}": gain["log_loss"] <= log_loss,
        f"AUC of auto >= {LEVELS[stream]}": auto["mean"]["auc"] >= LEVELS[stream],
        f"no run's AUC below iu by more than {WORST}": worst["auc"] >= -WORST,
        f"no run's log loss above iu by more than {WORST}": worst["log_loss"] <= WORST,
        f"no run's AUC on seen items below iu by more than {WORST}": worst["auc_seen_items"] >= -WORST,
        f"no run's log loss on seen items above iu by more than {WORST}": worst["log_loss_seen_items"] <= WORST,
        "a period of row-statistics takes at most 3 times one of iu": found["row-statistics"]["times_iu"] <= 3,
    }
    return {f"{stream}: {text}": value for text, value in met.items()}

"""`row-audience` beside `row-statistics`: three real streams, the seeds that did not choose it, paired with `iu`.

docs/research.md says how it was chosen, on seeds 0 and 1. Reported as in bars.py.
"""

from __future__ import annotations

from typing import Any

from benchmarks.in_memory import STREAMS, Stream, last_means, learned
from benchmarks.prove.bars import costs, summary
from models.learning import LearningSettings
from models.update_methods.iu import Iu
from models.update_methods.row_audience import RowAudience
from models.update_methods.row_statistics import RowStatistics

SEEDS = (2, 3, 4)
METHODS = (Iu(), RowStatistics(), RowAudience())


def run() -> dict[str, Any]:
    """Every stream with every seed, a line each as it ends."""
    runs: dict[str, list[dict[str, Any]]] = {stream.name: [] for stream in STREAMS}
    for stream in STREAMS:
        for seed in SEEDS:
            runs[stream.name].append(one(stream, seed))
            print(stream.name, runs[stream.name][-1], flush=True)
    found = {name: summary(seeds) for name, seeds in runs.items()}
    bounds = {"yelp2019: AUC of row-audience - iu >= +0.025": found["yelp2019"]["row-audience"]["gain"]["auc"] >= 0.025}
    for name, means in found.items():
        bounds |= {f"{name}: {text}": met for text, met in better(means).items()}
    return {"runs": runs, "summary": found, "bounds": bounds}


def one(stream: Stream, seed: int) -> dict[str, Any]:
    """One run, all methods on one base trajectory."""
    settings = LearningSettings(negatives=stream.negatives, seed=seed, methods=METHODS, serve="iu", device="cpu")
    periods = [done for done in learned(stream.periods(), settings) if done.outcome.scores]
    return {
        "seed": seed,
        "means": last_means([done.outcome for done in periods]),
        "seconds_per_period": costs(periods, [method.method for method in METHODS]),
    }


def better(means: dict[str, Any]) -> dict[str, bool]:
    """Against the method that it adds to."""
    own, known = means["row-audience"], means["row-statistics"]
    return {
        "AUC of row-audience above that of row-statistics": own["gain"]["auc"] > known["gain"]["auc"],
        "log loss of row-audience below that of row-statistics": own["gain"]["log_loss"] < known["gain"]["log_loss"],
        "no run's AUC below iu": own["worst"]["auc"] >= 0,
        "no run's log loss above iu": own["worst"]["log_loss"] <= 0,
        "a period of row-audience takes at most 3 times one of iu": own["times_iu"] <= 3,
    }

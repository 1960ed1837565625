"""What each update method takes per period beside `iu`: one core, one run, all methods on one base trajectory.

A method costs the training of the base model, its generator and its generation; reported is the median over the scored
periods, since a neighbour on the machine shows in a few of them only.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.in_memory import STREAMS, Learned, Stream, last_means, learned
from models.learning import LearningSettings
from models.update_methods.asmg import Asmg, AsmgAveraged
from models.update_methods.iu import Iu
from models.update_methods.row_audience import RowAudience
from models.update_methods.row_statistics import RowStatistics

METHODS = (Iu(), Asmg(), AsmgAveraged(), RowStatistics(), RowAudience())
MEASURED = ("movietweetings_100k", "yelp2019")


def run() -> dict[str, Any]:
    """The streams whose generators an hour of one core can train."""
    found = {stream.name: one(stream) for stream in STREAMS if stream.name in MEASURED}
    bounds = {
        f"{stream}: a period of {name} takes at most 3 times one of iu": costs[name]["times_iu"] <= 3
        for stream, costs in found.items()
        for name in ("row-statistics", "row-audience")
    }
    return {"streams": found, "bounds": bounds}


def one(stream: Stream) -> dict[str, Any]:
    """Per method: seconds per period, these by those of `iu`, and what it reached in this run."""
    settings = LearningSettings(negatives=stream.negatives, methods=METHODS, serve="iu", device="cpu")
    periods = [done for done in learned(stream.periods(), settings) if done.outcome.scores]
    seconds = {method.method: median(_seconds(done, method.method) for done in periods) for method in METHODS}
    means = last_means([done.outcome for done in periods])
    return {
        name: {"seconds_per_period": round(spent, 4), "times_iu": round(spent / seconds["iu"], 2), **means[name]}
        for name, spent in seconds.items()
    }


def _seconds(done: Learned, name: str) -> float:
    stages = ("training", f"generator {name}", f"generation {name}")
    return sum(done.seconds.get(stage, 0.0) for stage in stages)

"""Regret where the drift is known: log loss of each method above that of the true probabilities, on the same rows.

A chapter of the stream is a week and eight periods long; pretraining ends two periods before the first one does. "No
update" is what pretraining left, for ever. Picture: docs/regret.png.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.in_memory import learned
from benchmarks.regret_picture import draw
from models.evaluation import evaluate
from models.interactions import Interactions
from models.learning import LearningSettings
from models.metrics.loss import log_loss, true_losses
from models.selection import AUTO, Auto
from models.update_methods.asmg import Asmg, AsmgAveraged
from models.update_methods.iu import Iu
from models.update_methods.row_statistics import RowStatistics
from stream_app.synthetic import DRIFTS, SyntheticSettings, generate
from stream_app.synthetic.drift import CHAPTERS

SEEDS = (0, 1, 2)
KINDS = ("none", *DRIFTS)
PERIODS, PRETRAIN, ROWS = 8 * CHAPTERS, 6, 3_000
NO_UPDATE = "no update"
TOLERANCE = 0.001
"""Log loss by which `auto` may be above `iu` in one run."""
WORSE = 1.2

Curves = dict[str, list[float]]
"""Regret by method, a value for each scored period."""


def run() -> dict[str, Any]:
    """Every kind of drift with every seed; draws the picture."""
    runs = {kind: [regrets(kind, seed) for seed in SEEDS] for kind in KINDS}
    curves = {kind: mean_curves(of_kind) for kind, of_kind in runs.items()}
    draw(curves, PRETRAIN + 1, PERIODS // CHAPTERS)
    means = {kind: [{name: fmean(curve) for name, curve in one.items()} for one in runs[kind]] for kind in KINDS}
    return {
        "seeds": SEEDS,
        "interactions": PERIODS * ROWS,
        "first_scored_period": PRETRAIN + 1,
        "regret_of_each_seed": {
            kind: {name: [round(one[name], 4) for one in of_kind] for name in of_kind[0]}
            for kind, of_kind in means.items()
        },
        "curves": {
            kind: {name: [round(value, 4) for value in curve] for name, curve in of_kind.items()}
            for kind, of_kind in curves.items()
        },
        "bounds": bounds(means),
    }


def bounds(means: dict[str, list[dict[str, float]]]) -> dict[str, bool]:
    """means: by kind of drift, for each seed, the mean regret of each method."""
    met = {}
    for kind, runs in means.items():
        met[f"{kind}: nobody is below the truth, in any run"] = all(min(one.values()) > 0 for one in runs)
        met[f"{kind}: auto - iu <= {TOLERANCE} in every run"] = all(one[AUTO] - one["iu"] <= TOLERANCE for one in runs)
        met[f"{kind}: no update has at least {WORSE} times the regret of iu in every run"] = all(
            one[NO_UPDATE] >= WORSE * one["iu"] for one in runs
        )
    return met


def regrets(kind: str, seed: int) -> Curves:
    """One run: all methods on one trajectory of the base model."""
    settings = LearningSettings(
        seed=seed,
        methods=(Iu(), Asmg(), AsmgAveraged(), RowStatistics()),
        serve=AUTO,
        selection=Auto(candidates=("iu", "row-statistics")),
        pretrain=PRETRAIN,
        device="cpu",
    )
    found, still = Curves(), None
    parts = list(periods(kind, seed))
    for one, (_, floor) in zip(learned([rows for rows, _ in parts], settings), parts, strict=True):
        losses = {name: score.log_loss for name, score in one.outcome.scores.items()}
        if still is not None:
            losses[NO_UPDATE] = evaluate(settings.base_model, still, one.state.targets[-1]).log_loss
        elif one.outcome.parameters is not None:
            still = one.outcome.parameters
        for name, loss in losses.items():
            found.setdefault(name, []).append(loss - floor)
    print(f"{kind} {seed}: { ({name: round(fmean(curve), 4) for name, curve in found.items()}) }", flush=True)
    return found


def periods(kind: str, seed: int) -> Iterator[tuple[Interactions, float]]:
    """Periods of equal size in canonical order, each with the log loss of the truth on it."""
    drift = () if kind == "none" else (kind,)
    settings = SyntheticSettings(PERIODS * ROWS, days=7.0 * CHAPTERS, drift=drift, seed=seed)
    parts = list(generate(settings))
    rows = Interactions.concatenate([part.interactions for part in parts])
    truth = np.concatenate([part.probability for part in parts])
    order = rows.canonical_order()
    for start in range(0, len(rows), ROWS):
        chosen = order[start : start + ROWS]
        period = rows.select(chosen)
        yield period, log_loss(true_losses(truth[chosen], period.labels))


def mean_curves(runs: list[Curves]) -> Curves:
    """The mean over seeds."""
    return {name: np.mean([one[name] for one in runs], axis=0).tolist() for name in runs[0]}

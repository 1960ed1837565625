"""What histories bring at request time: live ones, those that the version carries, and none.

Each period is scored by ids with the version of the period before, through `ServingModel`, three times: with the
histories that a `HistoryFollower` has by then (all that its user liked strictly earlier, which is what the learner
takes: the tests hold the two equal), with the version's own (as of the end of its period), and with none. Settings are
the default ones. Reported is the mean of the last 7 of 31 periods; gains are paired (same seed, same version).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from benchmarks.in_memory import LAST, STREAMS, Learned, Stream, learned
from models.learning import LearningSettings
from models.metrics import Score, score
from models.selection import AUTO
from stream_app.events.periods import UpdatePeriod
from stream_app.release import release
from stream_app.serving.model import ServingModel

SEEDS = (0, 1, 2)
WAYS = ("live", "version", "none")
SAME = 1e-5
"""By which the live way may differ from what the learner reports: another order of the same sums in float32."""

Scores = dict[str, Score]
"""By way."""


def run() -> dict[str, Any]:
    """Every stream with every seed, a line each as it ends."""
    runs: dict[str, list[dict[str, Any]]] = {stream.name: [] for stream in STREAMS}
    for stream in STREAMS:
        for seed in SEEDS:
            runs[stream.name].append(one(stream, seed))
            print(stream.name, runs[stream.name][-1], flush=True)
    summaries = {name: summary(seeds) for name, seeds in runs.items()}
    return {"seeds": SEEDS, "summary": summaries, "runs": runs, "bounds": bounds(runs)}


def bounds(runs: Mapping[str, list[dict[str, Any]]]) -> dict[str, bool]:
    """What must hold in every run."""
    every = [one for of_stream in runs.values() for one in of_stream]
    met = {f"live is what the learner reports, within {SAME}": max(o["difference_to_reported"] for o in every) <= SAME}
    for better, worse in itertools.pairwise(WAYS):
        met[f"{better} is better than {worse}, in AUC and log loss"] = all(
            one["means"][better]["auc"] > one["means"][worse]["auc"]
            and one["means"][better]["log_loss"] < one["means"][worse]["log_loss"]
            for one in every
        )
    return met


def one(stream: Stream, seed: int) -> dict[str, Any]:
    """One run: the mean scores of each way, and what the histories of the last version take."""
    settings = LearningSettings(negatives=stream.negatives, seed=seed, histories=True, device="cpu")
    model, scored, differences = None, list[Scores](), list[float]()
    for done in learned(stream.periods(), settings):
        if model is not None:
            scored.append(three_ways(model, done))
            reported = done.outcome.scores[AUTO]
            differences.append(abs(scored[-1]["live"].auc - reported.auc))
            differences.append(abs(scored[-1]["live"].log_loss - reported.log_loss))
        model = serving(done, settings)
    assert model is not None
    content = model.version.content
    means = {
        way: {metric: fmean(getattr(one[way], metric) for one in scored[-LAST:]) for metric in ("auc", "log_loss")}
        for way in WAYS
    }
    return {
        "seed": seed,
        "means": means,
        "difference_to_reported": max(differences),
        "bytes": content.size,
        "bytes_of_histories": content.histories_size,
    }


def serving(done: Learned, settings: LearningSettings) -> ServingModel | None:
    """The version that a subscriber would be given; None while pretraining."""
    outcome, rows = done.outcome, done.outcome.interactions
    period = UpdatePeriod(outcome.period, 0, 0, rows)
    version = release(outcome.period, "", period, done.interactions, outcome, settings, "0" * 64)
    return None if version is None else ServingModel(version)


def three_ways(model: ServingModel, done: Learned) -> Scores:
    """The samples of a period, scored with the version before it."""
    sampler, samples = done.state.sampler, done.state.targets[-1]
    users, items, history = (
        ids[rows.numpy() - 1]
        for ids, rows in (
            (sampler.users.ids, samples.users),
            (sampler.items.ids, samples.items),
            (sampler.items.ids, samples.history),
        )
    )
    nothing = history[:0], samples.offsets.numpy() * 0
    ways = {"live": (history, samples.offsets.numpy()), "version": None, "none": nothing}
    columns = samples.labels.numpy(), samples.users.numpy(), samples.seen_items.numpy()
    return {way: score(model.logits(users, items, histories), *columns) for way, histories in ways.items()}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and the paired gains over no history of each."""
    ways = {
        way: {metric: round(fmean(one["means"][way][metric] for one in runs), 4) for metric in ("auc", "log_loss")}
        for way in WAYS
    }
    gains = {
        f"{way} - {other}": {
            metric: [round(one["means"][way][metric] - one["means"][other][metric], 4) for one in runs]
            for metric in ("auc", "log_loss")
        }
        for way, other in (("live", "version"), ("live", "none"), ("version", "none"))
    }
    share = runs[-1]["bytes_of_histories"] / runs[-1]["bytes"]
    return {"means": ways, "gains_of_each_seed": gains, "share_of_bytes": round(share, 3)}

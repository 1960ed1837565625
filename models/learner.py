"""One update period, test then train (algorithms.md, "Timeline of one update").

    scores     = every candidate on D_t                            # with what served it, before anything sees D_t
    generators = each trained against D_t, from Θ_{t-k} … Θ_{t-1}
    Θ_t        = Θ_{t-1} trained on D_t
    candidates = generated from Θ_{t-k+1} … Θ_t
    Θ*_t       = one of the candidates, by their scores so far     # serves until D_{t+1} closes

The base model goes on from Θ_t, never from Θ*_t. The first `pretrain` periods are collected, then pretrained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.evaluation import evaluate
from models.histories import UserHistories
from models.interactions import Ids, Interactions
from models.item_categories import ItemCategories
from models.learner_state import LearnerState
from models.learning import LearningSettings, device_of
from models.metrics import Score
from models.parameters import CATEGORY, Parameters, Sizes
from models.pretraining import Checkpoint, Pretraining, pretrain
from models.randomness import rng
from models.samples import Samples
from models.sampling import SamplerState, sample
from models.selection import AUTO, Selection
from models.training import Snapshot, train


@dataclass(frozen=True)
class Outcome:
    """What one update period yields.

    scores: prequential score of every candidate on this period, empty while pretraining; where `auto` serves also
    "auto", the score of what served this period. served: the method that did, None while pretraining. method: the one
    that serves from now on, and parameters its candidate, None before the end of pretraining; its tables have one row
    per id of `users`, `items` and `categories` after the cold row 0. categories, item_categories: None where the base
    model does not look up categories. histories: of all users by the end of the period, None unless they are wanted and
    something serves. decisions: plain facts that go into the manifest.
    """

    period: int
    interactions: int
    samples: int
    stage: str
    scores: Mapping[str, Score]
    served: str | None
    method: str | None
    parameters: Parameters | None
    users: Ids
    items: Ids
    categories: Ids | None
    item_categories: ItemCategories | None
    histories: UserHistories | None
    decisions: Mapping[str, str | int | float | None]


@dataclass(frozen=True)
class Observer:
    """What a caller may want to know or keep while a period is learned; both hooks are optional.

    stage: told the name of each stage as it begins. checkpoint: given pretraining after every pass.
    """

    stage: Callable[[str], None] = lambda name: None
    checkpoint: Checkpoint | None = None


def learn(
    state: LearnerState,
    interactions: Interactions,
    period: int,
    settings: LearningSettings,
    observer: Observer | None = None,
    pretraining: Pretraining | None = None,
) -> tuple[LearnerState, Outcome]:
    """Score, then train, one closed period of interactions in canonical order; `state` is left as it was.

    pretraining: where a pretraining that was broken off stands (the last thing `observer.checkpoint` was given).
    """
    observer = observer or Observer()
    settings = settings.suited(interactions.categories is not None)
    observer.stage("samples")
    sampler, samples = sample(
        state.sampler,
        interactions,
        settings.negatives,
        rng(settings.seed, period, "negatives"),
        rng(settings.seed, period, "training"),
    )
    as_served = _as_served(samples, state.sampler).to(device_of(settings))
    samples = samples.to(device_of(settings))
    observer.stage("scoring")
    scores = {name: evaluate(settings.base_model, kept, as_served) for name, kept in state.candidates.items()}
    known, served = state.sampler.sizes, state.serving(settings)
    decisions: dict[str, str | int | float | None] = {}
    selection = _observed(state, scores, settings)
    targets = (*state.targets, samples)
    state = replace(state, sampler=sampler, learned=state.learned + 1, targets=targets, selection=selection)
    if state.learned == settings.pretrain:
        state, decisions = _pretrained(state, as_served, known, settings, observer, pretraining)
    if state.learned >= settings.pretrain:
        state = _updated(state, samples, period, settings, observer)
    if served and settings.serve == AUTO:
        scores[AUTO] = scores[served]
    return state, _outcome(state, interactions, samples, period, settings, scores, served, decisions)


def _observed(state: LearnerState, scores: Mapping[str, Score], settings: LearningSettings) -> Selection:
    if settings.serve != AUTO:
        return state.selection
    losses = {name: score.log_loss for name, score in scores.items()}
    return state.selection.observed(losses, settings.selection.half_life)


def _as_served(samples: Samples, before: SamplerState) -> Samples:
    """The samples with the categories that were known `before` their period: what a subscriber scored them with."""
    return samples.with_categories(before.item_categories) if len(samples.category_offsets) else samples


def _pretrained(
    state: LearnerState,
    validation: Samples,
    known: Sizes,
    settings: LearningSettings,
    observer: Observer,
    saved: Pretraining | None,
) -> tuple[LearnerState, dict[str, str | int | float | None]]:
    observer.stage("pretraining")
    earlier = Samples.concatenate(state.targets[:-1])
    end = pretrain(earlier, validation, known, settings, saved, observer.checkpoint)
    decisions: dict[str, str | int | float | None] = {
        "pretraining_initialisation": end.best_initialisation,
        "pretraining_pass": end.best_pass,
        "pretraining_auc": None if end.best_auc != end.best_auc else end.best_auc,
    }
    return replace(state, snapshot=end.best), decisions


def _updated(
    state: LearnerState, samples: Samples, period: int, settings: LearningSettings, observer: Observer
) -> LearnerState:
    state = state.grown(settings)
    current, before = state.snapshot, state.window
    if current is None:
        raise ValueError("a base model is updated only after pretraining")
    states = _generators_trained(state, period, settings, observer) if before else {}
    observer.stage("training")
    snapshot = train(current, settings.base_model, samples, settings.learning_rate, settings.batch)
    if not before:
        states = _methods_started(snapshot, state.targets, settings)
    window = (*before, snapshot.parameters)[-settings.window :]
    outgoing = before[0] if len(before) == settings.window else None
    candidates: dict[str, Parameters] = {}
    for method in settings.methods:
        name = method.method
        observer.stage(f"generation {name}")
        states[name], candidates[name] = method.candidate(states[name], settings.base_model, outgoing, window)
    targets = state.targets[-settings.window :]
    return replace(state, snapshot=snapshot, window=window, targets=targets, methods=states, candidates=candidates)


def _methods_started(snapshot: Snapshot, periods: Sequence[Samples], settings: LearningSettings) -> dict[str, Any]:
    return {m.method: m.start(settings.base_model, snapshot, periods, settings.seed) for m in settings.methods}


def _generators_trained(
    state: LearnerState, period: int, settings: LearningSettings, observer: Observer
) -> dict[str, Any]:
    base, window, targets = settings.base_model, state.window, state.targets[-len(state.window) :]
    states: dict[str, Any] = {}
    for method in settings.methods:
        name = method.method
        observer.stage(f"generator {name}")
        states[name] = method.train(state.methods[name], base, window, targets, settings.seed, period)
    return states


def _outcome(
    state: LearnerState,
    interactions: Interactions,
    samples: Samples,
    period: int,
    settings: LearningSettings,
    scores: Mapping[str, Score],
    served: str | None,
    decisions: Mapping[str, str | int | float | None],
) -> Outcome:
    method = state.serving(settings)
    explained = state.selection.explained(settings.candidates) if method and settings.serve == AUTO else {}
    categories, sampler = CATEGORY in settings.base_model.tables.values(), state.sampler
    carried = UserHistories.of(sampler.history_items, sampler.history_times) if method and settings.histories else None
    return Outcome(
        period=period,
        interactions=len(interactions),
        samples=len(samples),
        stage="updated" if method else f"pretraining {state.learned}/{settings.pretrain}",
        scores=scores,
        served=served,
        method=method,
        parameters=state.candidates[method] if method else None,
        users=sampler.users.ids,
        items=sampler.items.ids,
        categories=sampler.categories.ids if categories else None,
        item_categories=sampler.item_categories if categories else None,
        histories=carried,
        decisions={**decisions, **explained},
    )

"""A learner's outcome as a model version: plain numbers and named arrays, in the form that subscribers know."""

from __future__ import annotations

from collections.abc import Mapping

from models.base_models.module import Module
from models.interactions import Interactions
from models.learner import Outcome
from models.learning import LearningSettings, machine_class
from models.metrics import Score
from models.selection import AUTO
from stream_app.events.periods import UpdatePeriod
from stream_app.serving.computing import BASE_MODEL_SETTINGS, settings_text
from stream_app.versions.columns import (
    HISTORIES_UNTIL,
    histories_to_tensors,
    ids_to_tensors,
    item_categories_to_tensors,
)
from stream_app.versions.manifest import Period, Plain, Rows
from stream_app.versions.model_version import ModelVersion, build
from stream_app.versions.tensors import Array

_METRICS = ("auc", "log_loss", "auc_seen_items", "log_loss_seen_items")  # those of the format (docs/model-version.md)


def release(
    number: int,
    parent: str,
    period: UpdatePeriod,
    interactions: Interactions,
    outcome: Outcome,
    settings: LearningSettings,
    digest: str,
) -> ModelVersion | None:
    """The version that `outcome` makes, None while it has nothing to serve (pretraining).

    parent: digest of the version before, "" for the first; interactions: the period's, in canonical order;
    digest: of all settings that decide the content (`fixed.settings_digest`).
    """
    if outcome.parameters is None:
        return None
    tensors = {f"parameters.{name}": tensor.cpu().numpy() for name, tensor in outcome.parameters.items()}
    rows = len(interactions)
    return build(
        number,
        parent,
        Period(number=period.number, start=period.start, end=period.end, interactions=rows),
        Rows(count=rows, sha256=interactions.digest()),
        learning_facts(outcome, settings, digest),
        machine_class(settings),
        {name: _metrics(outcome.scores.get(name)) for name in _scored(settings)},
        outcome.decisions,
        {**tensors, **_vocabularies(outcome), **_histories(outcome)},
    )


def _vocabularies(outcome: Outcome) -> dict[str, Array]:
    """Whose rows the tables have; with categories also which of them each item has."""
    columns = {**ids_to_tensors("users", outcome.users), **ids_to_tensors("items", outcome.items)}
    if outcome.categories is None or outcome.item_categories is None:
        return columns
    known = outcome.item_categories
    # From row 1 on: the cold row has no categories, and no place in a vocabulary.
    own = item_categories_to_tensors(known.rows, known.offsets[1:])
    return {**columns, **ids_to_tensors("categories", outcome.categories), **own}


def _histories(outcome: Outcome) -> dict[str, Array]:
    known = outcome.histories
    return {} if known is None else histories_to_tensors(known.rows, known.offsets, known.newest)


def learning_facts(outcome: Outcome, settings: LearningSettings, digest: str) -> dict[str, Plain]:
    """What a manifest says about the learning: a few names, and the digest of all settings that decide its content.

    method: the one whose candidate this version is; where `auto` chose it, the decisions say why. categories: that the
    base model looks up categories, histories_until: how far the histories go, each said only where there are any.
    """
    facts: dict[str, Plain] = {
        "settings_digest": digest,
        "method": outcome.method,
        "base_model": settings.base_model.name,
        "seed": settings.seed,
        "negatives": settings.negatives,
    }
    if isinstance(settings.base_model, Module):
        facts[BASE_MODEL_SETTINGS] = settings_text(settings.base_model.settings)
    if outcome.histories is not None:
        facts[HISTORIES_UNTIL] = outcome.histories.until
    return facts if outcome.categories is None else facts | {"categories": True}


def _scored(settings: LearningSettings) -> tuple[str, ...]:
    """Every method, and `auto` last where that serves."""
    return (*(method.method for method in settings.methods), *([AUTO] if settings.serve == AUTO else []))


def _metrics(score: Score | None) -> Mapping[str, float | None] | None:
    """None for what did not score this period: nothing served before the end of pretraining."""
    if score is None:
        return None
    return {name: getattr(score, name) for name in _METRICS}

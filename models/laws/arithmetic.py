"""Laws of a base model's arithmetic: its logits, and its gradients against difference quotients in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from models.base_models.protocol import BaseModel
from models.laws.law import Law, must
from models.laws.streams import SIZES, samples_of
from models.laws.trial import Trial, digest
from models.parameters import Parameters
from models.randomness import rng
from models.samples import Batch, Samples, known_rows, renumbered

ROUNDING = 1e-5
"""How far two ways of computing one float32 number may differ, of the largest of those compared."""

STEP, QUOTIENT = 1e-5, 1e-6
"""Of a difference quotient in float64, and how far a slope may differ from it, of the largest slope."""


@Law
def a_sample_has_one_logit(trial: Trial) -> None:
    """A batch, a single sample and ids that are unknown have one finite float32 logit each."""
    parameters, samples = given(trial)
    unknown = known_rows(samples, dict.fromkeys(trial.base.tables.values(), 1))
    for what, some in {"samples": samples, "sample": select(samples, [0]), "samples of strangers": unknown}.items():
        logits = trial.base.logits(parameters, batch(some))
        found, right = (f"{shape} of {kind}" for shape, kind in _logits_like(logits, len(some)))
        must(found == right, f"the logits of {len(some)} {what} are {found}", right)
        must(bool(torch.isfinite(logits).all()), f"{len(some)} {what}: a logit is NaN or infinite", "finite numbers")


@Law
def samples_do_not_see_each_other(trial: Trial) -> None:
    """The logit of a sample is the same alone, among others, and in another order of them."""
    parameters, samples = given(trial)
    together = trial.base.logits(parameters, batch(samples))
    alone = [trial.base.logits(parameters, batch(select(samples, [n]))) for n in range(len(samples))]
    _must_be_close("the samples one by one", torch.cat(alone), together, "nothing is averaged over a batch")
    backwards = trial.base.logits(parameters, batch(select(samples, range(len(samples))[::-1]))).flip(0)
    _must_be_close("the samples backwards", backwards, together, "a sample's place in a batch means nothing")


@Law
def rows_stand_alone(trial: Trial) -> None:
    """Logits and gradients need only the rows that are looked up, whatever numbers these have: so training is fast."""
    parameters, samples = given(trial)
    rows = {of: looked_up(samples, of) for of in set(trial.base.tables.values())}
    # Backwards, so that no row keeps its number, and some row has number 0.
    places = {of: torch.zeros(SIZES[of], dtype=torch.int64) for of in rows}
    for of, found in rows.items():
        places[of][found] = torch.arange(len(found)).flip(0)
    of_table = {table: rows[of].flip(0) for table, of in trial.base.tables.items()}
    few = {name: tensor[of_table[name]] if name in of_table else tensor for name, tensor in parameters.items()}
    right = "a row is looked up by its number, and neither the number nor other rows matter; padding is masked"
    whole, slopes = trial.base.gradients(parameters, batch(samples))
    cut, local = trial.base.gradients(few, renumbered(batch(samples), places))
    _must_be_close("without the other rows of its tables, the batch", cut, whole, right)
    for name, gradient in local.items():
        wanted = slopes[name][of_table[name]] if name in of_table else slopes[name]
        _must_be_close(f"without the other rows of its tables, the gradient of {name}", gradient, wanted, right)


@Law
def keeps_nothing_between_calls(trial: Trial) -> None:
    """Equal arguments give equal bytes, whatever was asked in between: no buffers, no dropout."""
    parameters, samples = given(trial)
    halves = list(samples.batches(len(samples) // 2))

    def asked() -> list[str]:
        return [
            digest((trial.base.logits(parameters, half), trial.base.gradients(parameters, half))) for half in halves
        ]

    must(asked() == asked(), "asked again, a batch has other logits or gradients", "a function of the arguments alone")


@Law
def leaves_parameters_and_batch_alone(trial: Trial) -> None:
    """No call writes to the parameters or the batch that it is given."""
    parameters, samples = given(trial)
    some, base = batch(samples), trial.base
    more = {vocabulary: size + 2 for vocabulary, size in SIZES.items()}
    for name, call in (
        ("logits", lambda: base.logits(parameters, some)),
        ("gradients", lambda: base.gradients(parameters, some)),
        ("grown", lambda: base.grown(parameters, base.limits(SIZES), more, 0, 0)),
    ):
        before = digest(parameters), digest(some)
        call()
        must(digest(parameters) == before[0], f"{name} wrote to the parameters", "new tensors")
        must(digest(some) == before[1], f"{name} wrote to the batch", "new tensors")


@Law
def gradients_are_those_of_the_loss(trial: Trial) -> None:
    """Gradients are the slopes of the mean sigmoid cross-entropy, times `scale`; with them come the logits."""
    base, (parameters, samples) = trial.base, given(trial)
    some = batch(samples)
    logits, found = base.gradients(parameters, some)
    _must_be_close("what gradients hands back", logits, base.logits(parameters, some), "the logits of the batch")
    must(found.keys() == parameters.keys(), f"gradients of {sorted(found)}", f"of {sorted(parameters)}")
    doubles = {name: tensor.double() for name, tensor in parameters.items()}
    _, exact = base.gradients(doubles, some)
    _, third = base.gradients(doubles, some, 1 / 3)
    for name, gradient in exact.items():
        shape, right = tuple(gradient.shape), tuple(parameters[name].shape)
        must(shape == right, f"the gradient of {name} has shape {shape}", f"{right}")
        _must_be_close(f"at scale 1/3, the gradient of {name}", third[name] * 3, gradient, "scale times the gradient")
        _must_be_close(f"in float32, the gradient of {name}", found[name], gradient, "what it is in float64")
        _must_be_the_slope(base, doubles, some, name, gradient)


@Law
def gradients_reach_every_tensor(trial: Trial) -> None:
    """Every tensor has a gradient, and in a table only the rows that are looked up have one."""
    parameters, samples = given(trial)
    _, found = trial.base.gradients(parameters, batch(samples))
    for name, gradient in found.items():
        vocabulary = trial.base.tables.get(name)
        rows = looked_up(samples, vocabulary) if vocabulary else None
        if rows is not None:
            others = gradient.index_fill(0, rows, 0).flatten(1).any(1).nonzero()[:, 0].tolist()
            must(not others, f"rows {others[:3]} of {name} have a gradient, but no sample looks them up", "zeros")
        used = rows is None or len(rows) > 0
        must(bool(gradient.any()) or not used, f"{name} has no gradient", "a part in the logits, or to be left out")


LAWS: tuple[Law[Trial], ...] = (
    a_sample_has_one_logit,
    samples_do_not_see_each_other,
    rows_stand_alone,
    keeps_nothing_between_calls,
    leaves_parameters_and_batch_alone,
    gradients_are_those_of_the_loss,
    gradients_reach_every_tensor,
)


def given(trial: Trial) -> tuple[Parameters, Samples]:
    """Parameters and samples that are not learned from; fresh parameters moved at random, so that no bias is zero."""
    moved = {}
    for name, tensor in trial.base.init(SIZES, 0, 0).items():
        noise = rng(0, 0, f"laws/{name}").uniform(-0.3, 0.3, tuple(tensor.shape))
        moved[name] = tensor + torch.from_numpy(noise).float()
        if name in trial.base.tables:
            moved[name][0] = 0
    return moved, samples_of(3, trial.has_categories)


def batch(samples: Samples) -> Batch:
    """All of them as one."""
    return next(samples.batches(len(samples)))


def looked_up(samples: Samples, vocabulary: str) -> Tensor:
    """int64 ascending: the distinct rows of a vocabulary that they look up."""
    return torch.from_numpy(np.unique(torch.cat(samples.rows(vocabulary)).numpy()))


def select(samples: Samples, numbers: Sequence[int]) -> Samples:
    """These of them."""
    return samples.select(torch.tensor(list(numbers), dtype=torch.int64))


def _logits_like(logits: Tensor, count: int) -> tuple[tuple[tuple[int, ...], torch.dtype], ...]:
    return (tuple(logits.shape), logits.dtype), ((count,), torch.float32)


def _must_be_close(what: str, found: Tensor, right: Tensor, why: str) -> None:
    most = float((found.double() - right.double()).abs().max()) if found.shape == right.shape else float("inf")
    must(most <= ROUNDING * float(right.abs().max()) + 1e-9, f"{what}: up to {most:.3g} off", why)


def _must_be_the_slope(base: BaseModel, parameters: Parameters, some: Batch, name: str, gradient: Tensor) -> None:
    """In a few random directions, which no wrong gradient escapes."""
    for number in range(3):
        draw = rng(0, number, f"laws/direction/{name}").choice((-1.0, 1.0), tuple(gradient.shape))
        direction = torch.from_numpy(draw).to(gradient)
        ends = [_loss(base, {**parameters, name: parameters[name] + sign * STEP * direction}, some) for sign in (1, -1)]
        slope, said = (ends[0] - ends[1]) / (2 * STEP), float((gradient * direction).sum())
        near = abs(said - slope) <= QUOTIENT * max(float(gradient.abs().sum()), 1e-3)
        must(near, f"by the gradient of {name} the loss rises by {said:.6g}, but it rises by {slope:.6g}", "its slope")


def _loss(base: BaseModel, parameters: Parameters, some: Batch) -> float:
    return float(binary_cross_entropy_with_logits(base.logits(parameters, some), some.labels.double()))

"""Laws of update methods: what the learner, the store and whoever compares methods rely on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any, get_type_hints

import torch

from models.base_models.category_embedding_mlp import CategoryEmbeddingMlp
from models.base_models.matrix_factorization import MatrixFactorization
from models.laws import runs
from models.laws.between import backwards, heard, onlooker, watched
from models.laws.law import Law, during, must, must_be_settings
from models.laws.trial import Trial, difference, run

CALLS = {
    "start": ("base", "snapshot", "periods", "seed"),
    "train": ("state", "base", "window", "targets", "seed", "period"),
    "candidate": ("state", "base", "outgoing", "window"),
}
"""What the learner passes (models/update_methods/protocol.py), in this order."""


@Law
def says_what_it_is(trial: Trial) -> None:
    """A frozen dataclass with a short name of its own, a window of at least 1, and plain settings."""
    method = trial.method
    must_be_settings(method)
    name = getattr(method, "method", None)
    must(
        isinstance(name, str) and re.fullmatch("[a-z][a-z0-9-]*", name) is not None and name != "auto",
        f"method is {name!r}",
        "a short name of its own in small letters, digits and dashes; `auto` is taken",
    )
    window = getattr(method, "window", None)
    must(
        isinstance(window, int) and not isinstance(window, bool) and window >= 1,
        f"window is {window!r}",
        "how many snapshots it looks at, at least 1",
    )


@Law
def has_the_calls_of_a_method(trial: Trial) -> None:
    """It has `start`, `train` and `candidate`, and `start` is annotated with the dataclass that it returns."""
    for call, arguments in CALLS.items():
        right = f"def {call}(self, {', '.join(arguments)})"
        must(callable(getattr(trial.method, call, None)), f"it has no {call}", right)
        try:
            inspect.signature(getattr(trial.method, call)).bind(*arguments)
        except TypeError as error:
            must(False, f"{call} cannot be called: {error}", right)
    try:
        returned = get_type_hints(trial.method.start).get("return")
    except NameError as error:
        must(False, f"the annotations of start cannot be read: {error}", "names that its module imports")
    must(
        is_dataclass(returned),
        f"start is annotated to return {returned}",
        "the frozen dataclass of its state, since a stored state is restored by it: def start(...) -> State",
    )


@Law
def leaves_its_arguments_alone(trial: Trial) -> None:
    """No call writes to what it is given: states, snapshots, windows and targets are values."""
    changed: list[tuple[str, str]] = []
    method = watched(trial.method, lambda call, argument: changed.append((call, argument)))
    for number, _ in enumerate(run(trial.stream, trial.settings_with(method)), 1):
        must(
            not changed,
            f"period {number}: {' and '.join(f'{call} wrote to {argument}' for call, argument in changed)}",
            "new tensors: tensor + 1, not tensor += 1 or tensor.add_(1)",
        )


@Law
def candidates_fit_the_base_model(trial: Trial) -> None:
    """A candidate has the newest snapshot's names, shapes, type and device, and finite numbers, from the first on."""
    method = heard(trial.method, partial(_answers_as_annotated, get_type_hints(trial.method.start)["return"]))
    for number, step in enumerate(run(trial.stream, trial.settings_with(method)), 1):
        if step.outcome.parameters is None:
            continue
        wanted, found = step.state.window[-1], step.outcome.parameters
        must(
            wanted.keys() == found.keys(),
            f"period {number}: a candidate of {sorted(found)}",
            f"a tensor for each of {sorted(wanted)}",
        )
        for name, tensor in found.items():
            like = wanted[name]
            shape, right = (f"{tuple(t.shape)} of {t.dtype} on {t.device}" for t in (tensor, like))
            must(shape == right, f"period {number}: {name} is {shape}", f"{right}, one row for every id known by now")
            must(bool(torch.isfinite(tensor).all()), f"period {number}: {name} has NaN or infinity", "finite numbers")


def _answers_as_annotated(kept: type, call: str, answer: Any) -> None:
    if call == "candidate":
        kind = type(answer).__name__
        pair = isinstance(answer, tuple) and len(answer) == 2
        must(pair, f"candidate returns a {kind}", "a pair, the state and the parameters: return state, parameters")
        answer, _ = answer
    must(
        isinstance(answer, kept),
        f"{call} returns a {type(answer).__name__} as its state",
        f"a {kept.__name__}, as start is annotated",
    )


@Law
def order_of_names_does_not_matter(trial: Trial) -> None:
    """Parameters and mappings with their names in another order give the same bytes: a store may change it."""
    turned = [step.told for step in run(trial.stream, trial.settings_with(backwards(trial.method)))]
    must(
        not (which := difference(trial.told, turned)),
        f"with the names of all mappings in the opposite order, it differs in {which}",
        "ask for tensors by name, and go through names in the order of base.tables or sorted",
    )


@Law
def shares_the_learner_with_others(trial: Trial) -> None:
    """Beside another method with a longer window it does as it does alone, and neither base model nor other notices."""
    other = onlooker(trial.method.window + 2)
    alone = run(trial.stream, trial.settings_with(other))
    together = run(trial.stream, trial.settings_with(trial.method, other))
    name = trial.method.method
    for number, (own, without, both) in enumerate(zip(trial.steps, alone, together, strict=True), 1):
        must(
            _of(own.told.state, name) == _of(both.told.state, name),
            f"period {number}: its state or candidate is another one beside a method whose window is {other.window}",
            f"use the last {trial.method.window} of window and targets: window[-self.window:]",
        )
        must(
            _without(both.told.state, name) == _without(without.told.state, name),
            f"period {number}: the base model or another method's candidate is another one beside it",
            "the base trajectory belongs to all methods: what it has learned itself goes into its own state",
        )


@Law
def learns_with_another_base_model(trial: Trial) -> None:
    """With a base model whose tensors have other names and shapes its candidates fit, too."""
    for base in (MatrixFactorization(width=3), CategoryEmbeddingMlp(width=3, hidden=(4,))):
        with during(f"over {type(base).__name__}"):
            candidates_fit_the_base_model.check(Trial(base, trial.method))


def _of(state: Mapping[str, str], method: str) -> dict[str, str]:
    """What belongs to a method in the digests of a state."""
    return {path: digest for path, digest in state.items() if path.split(".")[1:2] == [method]}


def _without(state: Mapping[str, str], method: str) -> dict[str, str]:
    """What does not; nor does the list of methods, which names it."""
    own = _of(state, method)
    return {path: digest for path, digest in state.items() if path not in own and path not in ("methods", "candidates")}


BASIC: tuple[Law[Trial], ...] = (says_what_it_is, has_the_calls_of_a_method, candidates_fit_the_base_model)
"""Laws without which no other can be checked."""

LAWS: tuple[Law[Trial], ...] = (
    *BASIC,
    runs.same_seed_same_bytes,
    runs.state_can_be_stored,
    runs.goes_on_from_its_state_alone,
    leaves_its_arguments_alone,
    runs.serves_what_it_published,
    runs.does_not_peek,
    order_of_names_does_not_matter,
    shares_the_learner_with_others,
    learns_with_another_base_model,
    runs.learns_odd_periods,
    runs.learns_from_the_first_period_on,
    runs.same_bytes_in_another_process,
    runs.same_on_cpu_and_gpu,
)
"""All laws of an update method."""

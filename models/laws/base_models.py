"""Laws of base models: how they begin, how they grow, and what training, generators and scoring rely on."""

from __future__ import annotations

import inspect
from typing import get_args

import torch

from models.laws import arithmetic, runs
from models.laws.between import turned
from models.laws.law import Law, during, must, must_be_settings
from models.laws.streams import SIZES
from models.laws.trial import Trial, digest, run
from models.parameters import VOCABULARIES, Parameters
from models.update_methods import AnyUpdateMethod

CALLS = {
    "limits": ("sizes",),
    "init": ("sizes", "seed", "initialisation"),
    "grown": ("parameters", "limits", "sizes", "seed", "initialisation"),
    "logits": ("parameters", "batch"),
    "gradients": ("parameters", "batch", "scale"),
}
"""What is asked of a base model (models/base_models/protocol.py), in this order."""


@Law
def says_what_it_is(trial: Trial) -> None:
    """A frozen dataclass with a name, plain settings, and tables that have rows for users, items or categories."""
    base = trial.base
    must_be_settings(base)
    name, tables = getattr(base, "name", None), getattr(base, "tables", {})
    must(isinstance(name, str) and bool(name), f"name is {name!r}", "its name in settings and manifests")
    known = bool(tables) and all(vocabulary in VOCABULARIES for vocabulary in tables.values())
    must(known, f"tables are {dict(tables)}", f"for each table one of {VOCABULARIES}")
    for call, arguments in CALLS.items():
        right = f"def {call}(self, {', '.join(arguments)})"
        must(callable(getattr(base, call, None)), f"it has no {call}", right)
        try:
            inspect.signature(getattr(base, call)).bind(*arguments)
        except TypeError as error:
            must(False, f"{call} cannot be called: {error}", right)


@Law
def begins_as_its_seed_says(trial: Trial) -> None:
    """Sizes, seed and initialisation decide fresh parameters: float32, finite, the cold rows zeros."""
    base = trial.base
    first = base.init(SIZES, 0, 0)
    for name, tensor in first.items():
        must(tensor.dtype == torch.float32, f"{name} is {tensor.dtype}", "float32")
        must(bool(torch.isfinite(tensor).all()), f"{name} has NaN or infinity", "finite numbers")
    for table, vocabulary in base.tables.items():
        must(table in first, f"there is no tensor {table}", "a tensor for every table")
        shape = tuple(first[table].shape)
        must(len(shape) == 2 and shape[0] == SIZES[vocabulary], f"{table} is {shape}", f"({SIZES[vocabulary]}, width)")
        must(not first[table][0].any(), f"row 0 of {table} is not zero", "zeros: what an unknown id looks up")
    must(digest(base.init(SIZES, 0, 0)) == digest(first), "a second call gives other values", "the same")
    for changed, other in (("seed", base.init(SIZES, 1, 0)), ("initialisation", base.init(SIZES, 0, 1))):
        must(digest(other) != digest(first), f"another {changed} gives the same values", "others")


@Law
def has_a_limit_for_each_table(trial: Trial) -> None:
    """Every table has the limit that its rows are drawn with, early or late; 0 for rows that begin as zeros."""
    limits, tables = trial.base.limits(SIZES), trial.base.tables
    must(limits.keys() == tables.keys(), f"limits of {sorted(limits)}", f"of {sorted(tables)}")
    must(all(0 <= limit < float("inf") for limit in limits.values()), f"limits are {limits}", "finite, not below 0")


@Law
def rows_do_not_depend_on_when_they_are_born(trial: Trial) -> None:
    """A table that grows keeps its rows, and new ones are what they would have been at first; it never shrinks."""
    base, few, nearly = (
        trial.base,
        dict.fromkeys(SIZES, 3),
        {vocabulary: size - 1 for vocabulary, size in SIZES.items()},
    )
    whole, limits = base.init(SIZES, 5, 2), base.limits(SIZES)
    for steps in ([SIZES], [nearly, SIZES]):
        grown: Parameters = {name: tensor[:3] if name in base.tables else tensor for name, tensor in whole.items()}
        for size in steps:
            grown = base.grown(grown, limits, size, 5, 2)
        for name, tensor in whole.items():
            must(
                digest(grown[name]) == digest(tensor),
                f"{name} that has grown in {len(steps)} steps is not the one that was as long at first",
                "rows drawn by (seed, initialisation, table, row) alone: models.randomness.uniform_rows",
            )
    try:
        base.grown(whole, limits, few, 5, 2)
    except ValueError:
        return
    must(False, "a table shrank without a word", "ValueError, since rows that were learned would be lost")


@Law
def order_of_names_does_not_matter(trial: Trial) -> None:
    """Parameters with their names in another order give the same bytes: a store may change it."""
    base = trial.base
    parameters, samples = arithmetic.given(trial)
    other, batch = turned(parameters), arithmetic.batch(samples)
    more = {vocabulary: size + 2 for vocabulary, size in SIZES.items()}
    for call, straight, turned_round in (
        ("logits", base.logits(parameters, batch), base.logits(other, batch)),
        ("gradients", base.gradients(parameters, batch), base.gradients(other, batch)),
        (
            "grown",
            base.grown(parameters, base.limits(SIZES), more, 0, 0),
            base.grown(other, base.limits(SIZES), more, 0, 0),
        ),
    ):
        must(digest(straight) == digest(turned_round), f"{call} gives other bytes", "ask for each tensor by its name")


@Law
def cold_rows_are_never_trained(trial: Trial) -> None:
    """After a run, row 0 of every table is still zeros, and the rows of what was met are not."""
    for table in trial.base.tables:
        rows = trial.steps[-1].state.window[-1][table]
        must(not rows[0].any(), f"row 0 of {table} was trained", "zeros: no gradient for a row that nobody looks up")


@Law
def every_built_in_method_takes_it(trial: Trial) -> None:
    """Every built-in update method learns with it and serves finite numbers."""
    for method in (kind() for kind in get_args(AnyUpdateMethod)):
        with during(f"under {method.method}"):
            for step in run(trial.stream, trial.settings_with(method)):
                runs.must_be_finite(step)


BASIC: tuple[Law[Trial], ...] = (says_what_it_is, has_a_limit_for_each_table, begins_as_its_seed_says)
"""Laws without which no other can be checked."""

LAWS: tuple[Law[Trial], ...] = (
    *BASIC,
    rows_do_not_depend_on_when_they_are_born,
    *arithmetic.LAWS,
    order_of_names_does_not_matter,
    cold_rows_are_never_trained,
    runs.same_seed_same_bytes,
    runs.goes_on_from_its_state_alone,
    runs.learns_odd_periods,
    runs.learns_from_the_first_period_on,
    every_built_in_method_takes_it,
    runs.same_bytes_in_another_process,
    runs.same_on_cpu_and_gpu,
)
"""All laws of a base model."""

"""Laws of a whole run of the learner: they hold base models and update methods alike."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from models.evaluation import evaluate
from models.laws.elsewhere import learned_elsewhere
from models.laws.law import Law, during, must
from models.laws.streams import odd_periods
from models.laws.trial import Step, Told, Trial, difference, digests, run
from models.learner_state import LearnerState, from_leaves, to_leaves
from models.sampling import SamplerState


@Law
def same_seed_same_bytes(trial: Trial) -> None:
    """With the same seed and the same interactions, every state and version has the same bytes."""
    again = [step.told for step in run(trial.stream, trial.settings)]
    must(
        not (found := difference(trial.told, again)),
        f"two runs differ in {found}",
        "draw from models.randomness.rng(seed, period, purpose), from nothing else, and keep nothing between runs",
    )


@Law
def state_can_be_stored(trial: Trial) -> None:
    """Each state is a tree of tensors, numbers, mappings and tuples that the annotation of `start` restores."""
    for number, step in enumerate(trial.steps, 1):
        restored = from_leaves(trial.kept(to_leaves(step.state)), trial.settings)
        left, right = digests(to_leaves(step.state)), digests(to_leaves(restored))
        changed = [path for path in left.keys() | right.keys() if left.get(path) != right.get(path)]
        must(not changed, f"period {number}: {sorted(changed)[:3]} came back otherwise", "plain tensors and numbers")


@Law
def goes_on_from_its_state_alone(trial: Trial) -> None:
    """Stored, restored and gone on after any period, with another stream learned in between, is as never stopped."""
    settings = trial.settings
    states = [LearnerState.start(), LearnerState.start()]
    found: list[Told] = []
    for number, both in enumerate(zip(trial.stream, trial.stream_of("another"), strict=True), 1):
        after = [next(run([rows], settings, state, number)) for rows, state in zip(both, states, strict=True)]
        found.append(after[0].told)
        states = [from_leaves(trial.kept(to_leaves(step.state)), settings) for step in after]
    must(
        not (which := difference(trial.told, found)),
        f"restored from what was stored, and another stream learned beside it, it differs in {which}",
        "all that is remembered is in the fields of the state",
    )


@Law
def does_not_peek(trial: Trial) -> None:
    """No interaction of the next period changes a score or a version of this one."""
    settings, periods = trial.settings, trial.stream
    last = len(periods) - 1
    futures = [trial.stream_of(name)[last] for name in ("one future", "another future")]
    # What has seen the future in one run may bring it along into the next, so each future is followed by none.
    for coming in ([futures[0]], [], [futures[1]], []):
        found = [step.told for step in run([*periods[:last], *coming], settings)][:last]
        must(
            not (which := difference(trial.told[:last], found)),
            f"with other interactions in period {last + 1}, or none yet, it differs in {which}",
            f"period {which.partition(':')[0].removeprefix('period ')} depends on periods up to its own alone",
        )


@Law
def same_bytes_in_another_process(trial: Trial) -> None:
    """Another process, in which strings hash otherwise, gives the same bytes."""
    (there,) = learned_elsewhere([trial])
    must(
        not (which := difference(trial.told, there)),
        f"in another process it differs in {which}",
        "nothing depends on hash() or on the order of a set, and nothing was kept from an earlier run",
    )


@Law
def learns_odd_periods(trial: Trial) -> None:
    """A period of one label, one row, strangers or nothing is learned, and the next one too, in finite numbers."""
    at = len(trial.stream) - 2
    before = trial.steps[at - 1].state
    for what, odd in odd_periods(trial.stream[at]).items():
        with during(f"after a period {what}"):
            for step in run([odd, trial.stream[at + 1]], trial.settings, before, at + 1):
                must_be_finite(step)


@Law
def learns_from_the_first_period_on(trial: Trial) -> None:
    """However little pretraining had, one row and one label, the periods after it are learned in finite numbers."""
    first = trial.stream[0].select(slice(0, 1))
    with during("after a first period of one interaction"):
        for step in run([first, *trial.stream[1:]], trial.settings):
            must_be_finite(step)


@Law
def serves_what_it_published(trial: Trial) -> None:
    """What was published after a period is what the next one is scored with, and it never changes afterwards."""
    published: dict[str, Tensor] = {}
    known = SamplerState.start()
    for number, step in enumerate(run(trial.stream, trial.settings), 1):
        if published:
            name, samples = trial.method.method, step.state.targets[-1]
            if trial.has_categories:  # those that the published version knew
                samples = samples.with_categories(known.item_categories)
            expected = evaluate(trial.base, published, samples)
            must(
                repr(step.outcome.scores[name]) == repr(expected),
                f"period {number} was scored with something else than what was published after period {number - 1}",
                "a candidate is a new tensor, or one that nobody writes to",
            )
        known = step.state.sampler
        published = {name: tensor.clone() for name, tensor in (step.outcome.parameters or {}).items()}
    for number, step in enumerate(trial.steps, 1):
        must(
            digests(step.outcome.parameters or {}) == step.told.served,
            f"what was published after period {number} was changed later",
            "a candidate is a new tensor, or one that nobody writes to",
        )


def must_be_finite(step: Step) -> None:
    """Inside a law: what serves after a period, and the scores of it."""
    for name, tensor in (step.outcome.parameters or {}).items():
        must(bool(torch.isfinite(tensor).all()), f"{name} is served with NaN or infinity", "finite numbers")
    for name, score in step.outcome.scores.items():
        nothing = not step.outcome.samples
        must(nothing or math.isfinite(score.log_loss), f"the log loss of {name} is {score.log_loss}", "finite numbers")


@Law.of_gpu
def same_on_cpu_and_gpu(trial: Trial) -> None:
    """On a GPU the candidates are those of the CPU but for rounding: log losses within 1 %."""
    settings = replace(trial.settings, device="cuda")
    for number, (here, there) in enumerate(zip(trial.steps, run(trial.stream, settings), strict=True), 1):
        for name, score in here.outcome.scores.items():
            other = there.outcome.scores[name].log_loss
            near = abs(other - score.log_loss) <= 0.01 * score.log_loss
            must(near, f"period {number}: log loss {other:.4f}, on the CPU {score.log_loss:.4f}", "the same within 1 %")

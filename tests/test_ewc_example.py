"""The example of an update method from outside: it keeps the laws, and what its description says of it is so."""

from __future__ import annotations

import pytest
import torch

from examples.ewc.ewc import Ewc
from models.laws import runs, update_methods
from models.laws.trial import Trial
from models.learning import prepare_process
from models.update_methods.iu import Iu


@pytest.fixture(autouse=True)
def _learner_process() -> None:
    prepare_process(Trial().settings)


def test_it_keeps_every_law() -> None:
    """In this process; that of another process is run over the example by CONTRIBUTING's test."""
    trial = Trial(method=Ewc())
    for law in update_methods.LAWS:
        if law is not runs.same_bytes_in_another_process and (torch.cuda.is_available() or not law.gpu):
            law(trial)


def test_with_no_strength_it_is_incremental_update() -> None:
    plain = Trial(method=Iu())
    learning = plain.settings
    free = Trial(method=Ewc(strength=0.0, learning_rate=learning.learning_rate, batch=learning.batch))
    for ours, theirs in zip(free.steps, plain.steps, strict=True):
        assert ours.told.served == theirs.told.served


def test_the_stronger_the_less_it_moves() -> None:
    moved = []
    for strength in (0.0, 1.0, 1e9):
        first, *_, last = Trial(method=Ewc(strength=strength)).steps[1:]
        before, after = first.outcome.parameters, last.outcome.parameters
        moved.append(float((after["w1"] - before["w1"]).abs().sum()))
    assert moved[0] > moved[1] > moved[2]


def test_a_weight_that_has_never_mattered_is_free() -> None:
    """A row whose id is new has no importance: it is where training has put it."""
    trial = Trial(method=Ewc(strength=1e9, batch=16))
    free = Trial(method=Ewc(strength=0.0, batch=16))
    state, other = (one.steps[2].state for one in (trial, free))
    born = slice(len(trial.steps[1].state.window[-1]["user"]), None)
    held, learned = (s.methods["ewc"].snapshot.parameters["user"] for s in (state, other))
    assert len(held[born])
    assert torch.equal(held[born], learned[born])
    assert not torch.equal(held[: born.start], learned[: born.start])


@pytest.mark.parametrize("wrong", [{"strength": -1.0}, {"decay": 1.5}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="strength must be at least 0"):
        Ewc(**wrong)

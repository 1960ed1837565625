"""Each way for an update method to be wrong is caught by the law that is meant for it."""

from __future__ import annotations

from typing import Any

import hostile_methods as hostile
import pytest

from models.laws import runs, update_methods
from models.laws.law import Law, LawBroken
from models.laws.trial import Leaves, Trial, run

CASES: list[tuple[Any, Law[Trial], str]] = [
    (hostile.PeeksAtTheNextPeriod, runs.does_not_peek, "served user"),
    (hostile.WritesToTheWindow, update_methods.leaves_its_arguments_alone, "train wrote to window"),
    (hostile.WritesToTheTargets, update_methods.leaves_its_arguments_alone, "train wrote to targets"),
    (hostile.WritesToItsState, update_methods.leaves_its_arguments_alone, "train wrote to state"),
    (hostile.WritesToTheWindow, update_methods.shares_the_learner_with_others, "another method's candidate"),
    (hostile.DependsOnTheOrderOfNames, update_methods.order_of_names_does_not_matter, "served"),
    (hostile.DependsOnTheHashSeed, runs.same_bytes_in_another_process, "served user"),
    (hostile.DrawsWithoutASeed, runs.same_seed_same_bytes, "served user"),
    (hostile.RemembersOutsideOfItsState, runs.goes_on_from_its_state_alone, "served user"),
    (hostile.HasAStateThatCannotBeStored, runs.state_can_be_stored, "methods.hostile.value is a list"),
    (hostile.DoesNotSayWhatItsStateIs, update_methods.has_the_calls_of_a_method, "annotated to return None"),
    (hostile.LacksACall, update_methods.has_the_calls_of_a_method, "it has no start"),
    (hostile.CanBeChanged, update_methods.says_what_it_is, "no frozen dataclass"),
    (hostile.HasNoNameOfItsOwn, update_methods.says_what_it_is, "method is 'auto'"),
    (hostile.HasNoWindow, update_methods.says_what_it_is, "window is 0"),
    (hostile.TakesTooFewArguments, update_methods.has_the_calls_of_a_method, "train cannot be called"),
    (hostile.NamesAStateThatIsNowhere, update_methods.has_the_calls_of_a_method, "cannot be read: name 'Nowhere'"),
    (hostile.HasASettingThatIsNoValue, update_methods.says_what_it_is, "setting rate cannot be written down"),
    (hostile.ForgetsNewIds, update_methods.candidates_fit_the_base_model, "user is (12, 8)"),
    (hostile.ServesDoubles, update_methods.candidates_fit_the_base_model, "torch.float64"),
    (hostile.LeavesATensorOut, update_methods.candidates_fit_the_base_model, "a candidate of ['b1', 'b2', 'item'"),
    (hostile.ServesWithoutAState, update_methods.candidates_fit_the_base_model, "candidate returns a dict"),
    (hostile.TrainsAndReturnsNothing, update_methods.candidates_fit_the_base_model, "train returns a NoneType"),
    (hostile.ServesNaN, update_methods.candidates_fit_the_base_model, "user has NaN"),
    (hostile.ServesNumbersThatOverflow, runs.learns_odd_periods, "the log loss of hostile is"),
    (hostile.ServesAMappingOfItsOwn, runs.serves_what_it_published, "was scored with something else"),
    (hostile.DividesByThePositives, runs.learns_odd_periods, "with negative labels only: user is served with NaN"),
    (hostile.CannotLearnFromNothing, runs.learns_odd_periods, "after a period without interactions: RuntimeError"),
    (hostile.LooksAtTheWholeWindow, update_methods.shares_the_learner_with_others, "whose window is 3"),
    (hostile.KnowsOneBaseModel, update_methods.learns_with_another_base_model, "KeyError: 'b3'"),
    (hostile.ChangesWhatItHasPublished, runs.serves_what_it_published, "was changed later"),
]


@pytest.mark.parametrize(("method", "law", "seen"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_a_hostile_method_breaks_the_law_that_is_meant_for_it(method: Any, law: Law[Trial], seen: str) -> None:
    with pytest.raises(LawBroken) as broken:
        law(Trial(method=method()))
    assert broken.value.law == law.name
    assert seen in broken.value.seen
    assert broken.value.right


def test_a_peeking_method_is_caught_although_it_has_met_the_stream_before() -> None:
    """As when laws are checked one after the other."""
    trial = Trial(method=hostile.PeeksAtTheNextPeriod())
    list(run(trial.stream, trial.settings))
    assert trial.steps  # learned with all of the stream in mind
    with pytest.raises(LawBroken):
        runs.does_not_peek(trial)


def test_a_store_that_rounds_is_noticed() -> None:
    def rounded(leaves: Leaves) -> Leaves:
        return {path: leaf.round() if path == "methods.hostile.value" else leaf for path, leaf in leaves.items()}

    with pytest.raises(LawBroken, match=r"methods.hostile.value'\] came back otherwise"):
        runs.state_can_be_stored(Trial(method=hostile.Remembering(), kept=rounded))


def test_what_is_right_in_the_hostile_ones_is_not_held_against_them() -> None:
    """The base of those with a state keeps the very laws that the others break."""
    trial = Trial(method=hostile.Remembering())
    for law in update_methods.LAWS:
        if law not in (runs.same_bytes_in_another_process, runs.same_on_cpu_and_gpu):
            law(trial)

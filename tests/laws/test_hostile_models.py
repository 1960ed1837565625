"""Each way for a base model to be wrong is caught by the law that is meant for it."""

from __future__ import annotations

from typing import Any

import hostile_models as hostile
import pytest

from models.laws import arithmetic, base_models
from models.laws.law import Law, LawBroken
from models.laws.trial import Trial

CASES: list[tuple[Any, Law[Trial], str]] = [
    (hostile.HasAGradientTwiceTooLarge, arithmetic.gradients_are_those_of_the_loss, "by the gradient of item"),
    (hostile.ForgetsOneWeight, arithmetic.gradients_are_those_of_the_loss, "by the gradient of w1"),
    (hostile.IgnoresTheScale, arithmetic.gradients_are_those_of_the_loss, "at scale 1/3"),
    (hostile.HandsBackProbabilities, arithmetic.gradients_are_those_of_the_loss, "what gradients hands back"),
    (hostile.LeavesATensorOut, arithmetic.gradients_reach_every_tensor, "user has no gradient"),
    (hostile.DecaysItsTables, arithmetic.gradients_reach_every_tensor, "of user have a gradient, but no sample"),
    (hostile.NormalisesOverTheBatch, arithmetic.samples_do_not_see_each_other, "one by one"),
    (hostile.KeepsARunningMean, arithmetic.keeps_nothing_between_calls, "asked again"),
    (hostile.DropsOut, arithmetic.keeps_nothing_between_calls, "asked again"),
    (hostile.CentresItsTables, arithmetic.rows_stand_alone, "without the other rows"),
    (hostile.TakesRowZeroForPadding, arithmetic.rows_stand_alone, "without the other rows"),
    (hostile.WritesToItsParameters, arithmetic.leaves_parameters_and_batch_alone, "logits wrote to the parameters"),
    (hostile.WritesToTheBatch, arithmetic.leaves_parameters_and_batch_alone, "gradients wrote to the batch"),
    (hostile.HasNoMeanOfNothing, arithmetic.a_sample_has_one_logit, "NaN"),
    (hostile.ReturnsAColumn, arithmetic.a_sample_has_one_logit, "(32, 1)"),
    (hostile.HasAColdRowOfItsOwn, base_models.begins_as_its_seed_says, "row 0 of item"),
    (hostile.DrawsWithoutASeed, base_models.begins_as_its_seed_says, "a second call gives other values"),
    (hostile.BeginsInDoubles, base_models.begins_as_its_seed_says, "is torch.float64"),
    (hostile.BeginsWithNaN, base_models.begins_as_its_seed_says, "b1 has NaN"),
    (hostile.BeginsWithoutATable, base_models.begins_as_its_seed_says, "there is no tensor item"),
    (hostile.BeginsWithoutColdRows, base_models.begins_as_its_seed_says, "user is (19, 8)"),
    (hostile.HasOneSeedOnly, base_models.begins_as_its_seed_says, "another seed"),
    (hostile.DrawsRowsByTheirNumber, base_models.rows_do_not_depend_on_when_they_are_born, "user that has grown"),
    (hostile.Shrinks, base_models.rows_do_not_depend_on_when_they_are_born, "shrank"),
    (hostile.HasALimitBelowZero, base_models.has_a_limit_for_each_table, "limits are"),
    (hostile.ForgetsALimit, base_models.has_a_limit_for_each_table, "limits of ['user']"),
    (hostile.ForgetsAGradient, arithmetic.gradients_are_those_of_the_loss, "gradients of ['b1', 'b3'"),
    (hostile.HasAGradientOfAnotherShape, arithmetic.gradients_are_those_of_the_loss, "of b2 has shape (1, 6)"),
    (hostile.TakesTheFirstForUsers, base_models.order_of_names_does_not_matter, "logits gives other bytes"),
    (hostile.TrainsItsColdRows, base_models.cold_rows_are_never_trained, "row 0 of user"),
    (hostile.HasATableOfWords, base_models.says_what_it_is, "tables are"),
    (hostile.HasNoName, base_models.says_what_it_is, "name is ''"),
    (hostile.LacksACall, base_models.says_what_it_is, "it has no limits"),
    (hostile.TakesTooFewArguments, base_models.says_what_it_is, "init cannot be called"),
    (hostile.HasASettingThatIsNoValue, base_models.says_what_it_is, "setting activation cannot be written down"),
    (hostile.CannotBegin, base_models.begins_as_its_seed_says, "made with init_from only, at hostile_models.py"),
]


@pytest.mark.parametrize(("model", "law", "seen"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_a_hostile_model_breaks_the_law_that_is_meant_for_it(model: Any, law: Law[Trial], seen: str) -> None:
    with pytest.raises(LawBroken) as broken:
        law(Trial(model()))
    assert broken.value.law == law.name
    assert seen in broken.value.seen
    assert broken.value.right

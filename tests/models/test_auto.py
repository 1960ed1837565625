"""Selection `auto` in the learner: what serves, under which name it is scored, and what it does not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.interactions import Interactions
from models.learner import Outcome, learn
from models.learner_state import LearnerState, from_leaves, to_leaves
from models.learning import LearningSettings, prepare_process
from models.selection import Auto
from models.update_methods.asmg import AsmgAveraged
from models.update_methods.iu import Iu
from models.update_methods.row_statistics import RowStatistics
from stream_app.synthetic import drifting_stream

PERIODS, ROWS, PRETRAIN = 8, 200, 3
SETTINGS = LearningSettings(pretrain=PRETRAIN, passes=1, initialisations=1, batch=32, device="cpu", seed=2)


@pytest.fixture(autouse=True)
def _learner_process() -> None:
    prepare_process(SETTINGS)


def stream() -> list[Interactions]:
    rows = drifting_stream(PERIODS * ROWS, users=60, items=40, seed=5, explicit=True).canonical()
    return [rows.select(slice(at, at + ROWS)) for at in range(0, len(rows), ROWS)]


def run(settings: LearningSettings, upto: int = PERIODS) -> list[tuple[LearnerState, Outcome]]:
    state, found = LearnerState.start(), []
    for number, rows in enumerate(stream()[:upto], 1):
        state, outcome = learn(state, rows, number, settings)
        found.append((state, outcome))
    return found


def test_auto_serves_the_candidate_that_it_names_until_the_next_period_has_closed() -> None:
    results = run(SETTINGS)
    for (state, before), (_, after) in zip(results[PRETRAIN - 1 :], results[PRETRAIN:], strict=False):
        assert before.method == before.decisions["chosen"] == after.served
        assert before.parameters is state.candidates[before.method]
        assert after.scores["auto"] == after.scores[before.method]
        assert list(after.scores) == ["iu", "row-statistics", "auto"]


def test_while_pretraining_nothing_serves_and_nothing_is_chosen() -> None:
    for _, outcome in run(SETTINGS, PRETRAIN - 1):
        assert (outcome.served, outcome.method, dict(outcome.decisions)) == (None, None, {})


@pytest.mark.parametrize("name", ["iu", "row-statistics"])
def test_a_method_that_is_named_serves_whatever_its_scores(name: str) -> None:
    for state, outcome in run(replace(SETTINGS, serve=name))[PRETRAIN - 1 :]:
        assert (outcome.method, outcome.parameters) == (name, state.candidates[name])
        assert "auto" not in outcome.scores
        assert "chosen" not in outcome.decisions


def test_only_candidates_are_chosen_and_all_methods_are_scored() -> None:
    settings = replace(SETTINGS, selection=Auto(candidates=("iu",)))
    outcome = run(settings)[-1][1]
    assert (outcome.method, outcome.served) == ("iu", "iu")
    assert list(outcome.scores) == ["iu", "row-statistics", "auto"]


def test_scores_do_not_depend_on_which_other_methods_there_are_nor_on_what_serves() -> None:
    """All methods share one base trajectory, whatever the longest window."""
    others = replace(SETTINGS, methods=(AsmgAveraged(batch=32), RowStatistics(), Iu()), serve="asmg-averaged")
    for (_, one), (_, other) in zip(run(SETTINGS), run(others), strict=True):
        for name in ("iu", "row-statistics"):
            assert one.scores.get(name) == other.scores.get(name)


def test_a_period_without_interactions_changes_no_choice() -> None:
    state, outcome = run(SETTINGS)[-1]
    after, empty = learn(state, stream()[0].select(slice(0, 0)), PERIODS + 1, SETTINGS)
    assert after.selection == state.selection
    assert (empty.served, empty.method) == (outcome.method, outcome.method)
    assert np.isnan(empty.scores["auto"].log_loss)


def test_what_was_remembered_of_the_scores_comes_back_with_the_state() -> None:
    state, _ = run(SETTINGS)[-1]
    again = from_leaves(to_leaves(state), SETTINGS)
    assert again.selection == state.selection
    assert set(again.selection.smoothed) == {"iu", "row-statistics"}


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_candidate_that_diverged_is_not_published() -> None:
    """Its predictions are no numbers; it was the better one until then."""
    state, _ = run(SETTINGS)[-1]
    ahead = replace(state.selection, smoothed={"iu": 0.9, "row-statistics": 0.1})
    broken = {name: torch.full_like(tensor, torch.nan) for name, tensor in state.candidates["row-statistics"].items()}
    state = replace(state, selection=ahead, candidates={**state.candidates, "row-statistics": broken})
    _, after = learn(state, stream()[-1], PERIODS + 1, SETTINGS)
    assert (after.served, after.method) == ("row-statistics", "iu")
    assert after.decisions["smoothed_log_loss.row-statistics"] is None

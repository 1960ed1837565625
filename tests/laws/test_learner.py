"""Laws that the learner keeps with all update methods at once; those of a single one are in `models.laws`."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from models import tree
from models.interactions import Interactions, category_column
from models.learner import Observer, Outcome, learn
from models.learner_state import LearnerState, from_leaves, to_leaves
from models.learning import LearningSettings, prepare_process
from models.pretraining import Pretraining
from models.update_methods import AnyUpdateMethod
from stream_app.synthetic import drifting_stream

METHODS = [method() for method in get_args(AnyUpdateMethod)]
PERIODS, ROWS = 9, 400
SETTINGS = LearningSettings(
    methods=tuple(METHODS), pretrain=4, passes=2, initialisations=2, batch=64, device="cpu", seed=3
)


@pytest.fixture(autouse=True)
def _learner_process() -> None:
    prepare_process(SETTINGS)


def stream(explicit: bool = True, seed: int = 5) -> list[Interactions]:
    rows = drifting_stream(PERIODS * ROWS, users=60, items=40, seed=seed, explicit=explicit).canonical()
    return [rows.select(slice(at, at + ROWS)) for at in range(0, len(rows), ROWS)]


def run(
    periods: list[Interactions],
    settings: LearningSettings = SETTINGS,
    state: LearnerState | None = None,
    first: int = 1,
) -> tuple[LearnerState, list[Outcome]]:
    state = state or LearnerState.start()
    outcomes = []
    for number, rows in enumerate(periods, first):
        state, outcome = learn(state, rows, number, settings)
        outcomes.append(outcome)
    return state, outcomes


def digest(leaves: dict[str, tree.Leaf]) -> str:
    """Of every named tensor and number, bytes and all."""
    sha = hashlib.sha256()
    for path in sorted(leaves):
        leaf = leaves[path]
        array = leaf.numpy() if isinstance(leaf, torch.Tensor) else leaf
        sha.update(path.encode())
        sha.update(array.tobytes() if isinstance(array, np.ndarray) else repr(array).encode())
    return sha.hexdigest()


def served(outcomes: list[Outcome]) -> list[str]:
    return [digest(dict(outcome.parameters)) if outcome.parameters is not None else "" for outcome in outcomes]


def with_categories(periods: list[Interactions]) -> list[Interactions]:
    """Each row names the genre of its item, most a second one that changes with the row, some none at all."""
    return [
        replace(
            rows,
            categories=category_column(
                [f"genre-{item % 5}", f"mood-{at % 7}"][: at % 5] for at, item in enumerate(rows.items.tolist())
            ),
        )
        for rows in periods
    ]


def test_another_seed_gives_another_model() -> None:
    assert served(run(stream())[1])[-1] != served(run(stream(), replace(SETTINGS, seed=4))[1])[-1]


def test_with_categories_every_method_serves_a_third_table_and_goes_on_as_if_never_stopped() -> None:
    periods = with_categories(stream())
    whole, outcomes = run(periods)
    for candidate in whole.candidates.values():
        assert {
            name: tuple(tensor.shape) for name, tensor in candidate.items() if name in ("category", "w1", "w2")
        } == {
            "category": (1 + 5 + 7, 8),
            "w1": (40, 20),
            "w2": (20, 10),
        }
    assert torch.equal(whole.candidates["iu"]["category"][0], torch.zeros(8)), "the cold row is never trained"
    assert not torch.equal(whole.candidates["iu"]["category"], whole.candidates["asmg"]["category"])
    for stop in (2, 6):
        half, _ = run(periods[:stop])
        rest, later = run(periods[stop:], state=from_leaves(to_leaves(half), SETTINGS), first=stop + 1)
        assert digest(to_leaves(rest)) == digest(to_leaves(whole))
        assert served(later) == served(outcomes)[stop:]


def test_what_a_period_says_of_categories_changes_the_next_version_and_no_score_of_its_own() -> None:
    """A subscriber scored it by ids, with what the version before knew of them."""
    periods = with_categories(stream())
    state, _ = run(periods[:6])
    _, honest = learn(state, periods[6], 7, SETTINGS)
    other = category_column([["mood-1", "never seen"]] * ROWS)
    _, changed = learn(state, replace(periods[6], categories=other), 7, SETTINGS)
    assert changed.scores == honest.scores
    assert served([changed]) != served([honest])
    assert "never seen" in changed.categories.tolist()
    early, _ = run(periods[:3])
    changed_validation = replace(periods[3], categories=other)
    aucs = [
        learn(early, rows, 4, SETTINGS)[1].decisions["pretraining_auc"] for rows in (periods[3], changed_validation)
    ]
    assert aucs[0] == aucs[1], "nor does it choose the pass of pretraining"


def test_a_stream_in_which_no_item_has_a_category_is_learned() -> None:
    """Its table has nothing but the cold row."""
    bare = [replace(rows, categories=category_column([()] * len(rows))) for rows in stream()[:7]]
    state, outcomes = run(bare)
    assert all(len(candidate["category"]) == 1 for candidate in state.candidates.values())
    assert all(np.isfinite(score.log_loss) for score in outcomes[-1].scores.values())


def test_pretraining_broken_off_after_any_pass_goes_on_to_the_same_bytes() -> None:
    periods = stream()
    before, _ = run(periods[:3])
    saved: list[Pretraining] = []
    whole, _ = learn(before, periods[3], 4, SETTINGS, Observer(checkpoint=saved.append))
    assert len(saved) == SETTINGS.passes * SETTINGS.initialisations
    for point in saved:
        again, _ = learn(before, periods[3], 4, SETTINGS, pretraining=tree.restore(Pretraining, tree.flatten(point)))
        assert digest(to_leaves(again)) == digest(to_leaves(whole))


def test_a_state_is_a_value_and_never_changes() -> None:
    periods = stream()
    state, _ = run(periods[:6])
    before = digest(to_leaves(state))
    learn(state, periods[6], 7, SETTINGS)
    assert digest(to_leaves(state)) == before


@pytest.mark.parametrize("explicit", [True, False])
def test_nothing_of_the_next_period_changes_a_score_or_a_version_of_this_one(explicit: bool) -> None:
    settings = replace(SETTINGS, negatives=0 if explicit else 1)
    periods, other = stream(explicit), stream(explicit, seed=99)
    for changed in (5, 7):
        _, honest = run(periods[:changed], settings)
        _, after = run([*periods[:changed], other[changed]], settings)
        assert served(after)[:changed] == served(honest)
        assert [outcome.scores for outcome in after[:changed]] == [outcome.scores for outcome in honest]


def test_a_period_is_scored_before_anything_trains_on_it() -> None:
    """The reported score is that of the model that was published one period earlier, against scikit-learn."""
    periods = stream()
    state, outcomes = run(periods[:6])
    _, outcome = learn(state, periods[6], 7, SETTINGS)
    version, vocabulary = outcomes[-1].parameters, state.sampler
    assert version is not None
    rows = periods[6]
    users, items = vocabulary.users.rows(rows.users), vocabulary.items.rows(rows.items)
    probabilities = [
        _probability(version, int(user), int(item), _history(periods[:7], rows.users[at], rows.times[at], vocabulary))
        for at, (user, item) in enumerate(zip(users, items, strict=True))
    ]
    score = outcome.scores["auto"]
    assert score.auc == pytest.approx(roc_auc_score(rows.labels, probabilities), abs=1e-6)
    assert score.log_loss == pytest.approx(log_loss(rows.labels, probabilities), abs=1e-6)


def _history(periods: list[Interactions], user: int, time: int, vocabulary: object) -> list[int]:
    rows = Interactions.concatenate(periods)
    mask = (rows.users == user) & (rows.times < time) & (rows.labels == 1)
    return [int(row) for row in vocabulary.items.rows(rows.items[mask])[-30:]]  # type: ignore[attr-defined]


def _probability(version: object, user: int, item: int, history: list[int]) -> float:
    """Embedding & MLP written from its description, in float64."""
    p = {name: tensor.numpy().astype(np.float64) for name, tensor in version.items()}  # type: ignore[attr-defined]
    pooled = p["item"][history].mean(0) if history else np.zeros(8)
    x = np.concatenate([p["user"][user], pooled, p["item"][item]])
    x = np.maximum(x @ p["w1"] + p["b1"], 0)
    x = np.maximum(x @ p["w2"] + p["b2"], 0)
    return float(1 / (1 + np.exp(-(x @ p["w3"] + p["b3"])[0])))


def test_a_period_of_strangers_is_scored_on_the_cold_rows_and_learned() -> None:
    periods = stream()
    strangers = replace(periods[6], users=periods[6].users + 10_000, items=periods[6].items + 10_000)
    _, outcomes = run([*periods[:6], strangers, *periods[7:]])
    assert all(np.isfinite(score.log_loss) for score in outcomes[6].scores.values())
    assert all(score.samples == ROWS for score in outcomes[6].scores.values())
    tables = outcomes[6].parameters
    assert len(tables["user"]) == len(outcomes[6].users) + 1
    assert len(tables["item"]) == len(outcomes[6].items) + 1


def test_string_ids_are_learned_like_numbers() -> None:
    periods = stream()
    named = [
        replace(
            rows,
            users=np.array([f"{user:06d}" for user in rows.users], object),
            items=np.array([f"{item:06d}" for item in rows.items], object),
        )
        for rows in periods
    ]
    _, numbers = run(periods)
    _, strings = run(named, state=LearnerState.start("string", "string"))
    assert served(strings) == served(numbers)


def test_before_the_end_of_pretraining_nothing_serves_and_nothing_is_scored() -> None:
    _, outcomes = run(stream())
    assert [outcome.parameters is None for outcome in outcomes] == [True] * 3 + [False] * 6
    assert [bool(outcome.scores) for outcome in outcomes] == [False] * 4 + [True] * 5
    assert outcomes[1].stage == "pretraining 2/4"


def test_every_method_starts_as_plain_incremental_update() -> None:
    """Nothing random is served: with no generator trained yet, every candidate is the base model."""
    state, _ = run(stream()[:4])
    for candidate in state.candidates.values():
        for name, tensor in candidate.items():
            assert torch.equal(tensor, state.candidates["iu"][name])


def test_the_kept_pass_is_the_one_that_scored_best_on_the_last_pretraining_period() -> None:
    periods = stream()
    before, _ = run(periods[:3])
    saved: list[Pretraining] = []
    _, outcome = learn(before, periods[3], 4, SETTINGS, Observer(checkpoint=saved.append))
    rows, sampler = periods[3], before.sampler
    users, items = sampler.users.rows(rows.users), sampler.items.rows(rows.items)
    aucs = []
    for point in saved:
        parameters = point.current.parameters
        probabilities = [
            _probability(
                parameters, int(user), int(item), _history(periods[:4], rows.users[at], rows.times[at], sampler)
            )
            for at, (user, item) in enumerate(zip(users, items, strict=True))
        ]
        aucs.append(roc_auc_score(rows.labels, probabilities))
    best = int(np.argmax(aucs))
    # Ties of float32 logits are no ties in float64: a pair or two of 40,000.
    assert outcome.decisions["pretraining_auc"] == pytest.approx(aucs[best], abs=1e-3)
    assert outcome.decisions["pretraining_initialisation"] == saved[best].initialisation
    assert outcome.decisions["pretraining_pass"] == saved[best].passes
    assert saved[-1].best.moments.step == saved[best].current.moments.step


def test_the_state_holds_one_window_and_its_targets_and_no_more() -> None:
    state, _ = run(stream())
    assert len(state.window) == len(state.targets) == SETTINGS.window
    assert state.snapshot is not None
    for name, tensor in state.window[-1].items():
        assert torch.equal(tensor, state.snapshot.parameters[name])


def test_a_trained_generator_serves_something_else_than_the_base_model() -> None:
    state, _ = run(stream()[:7])
    for method in ("asmg", "asmg-averaged"):
        assert not torch.equal(state.candidates[method]["item"], state.candidates["iu"]["item"])


def test_negatives_are_drawn_anew_in_every_period() -> None:
    """With one stream for all periods, equal periods would draw equal numbers."""
    settings = replace(SETTINGS, negatives=1)
    everyone = Interactions(np.arange(100), np.arange(100) % 50, np.arange(100) * 1_000_000, np.ones(100, np.float32))
    again = replace(everyone, users=everyone.users + 1000, times=everyone.times + 10**9)
    third = replace(everyone, users=everyone.users + 2000, times=everyone.times + 2 * 10**9)
    state = LearnerState.start()
    drawn = []
    for number, rows in enumerate((everyone, again, third), 1):
        state, _ = learn(state, rows, number, settings)
        samples = state.targets[-1]
        negative = samples.labels == 0
        drawn.append(dict(zip((samples.users[negative] % 100).tolist(), samples.items[negative].tolist(), strict=True)))
    assert drawn[1] != drawn[2]

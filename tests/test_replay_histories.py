"""Versions that carry histories: the same parameters, and of every user what the learner has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from replay_helpers import LEARNING, ROWS, SETTINGS, stream, write

from models.learning import LearningSettings
from models.update_methods.iu import Iu
from stream_app.events.periods import EqualCount
from stream_app.events.record import RecordSettings
from stream_app.fixed import fixed_for_store, settings_digest
from stream_app.replay import replay
from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import DirectorySink
from stream_app.versions.assembler import assembled
from stream_app.versions.model_version import ModelVersion

ONLY_IU = replace(LEARNING, methods=(Iu(),))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "stream.parquet", stream())


def versions_of(recording: Path, out: Path, learning: LearningSettings) -> list[ModelVersion]:
    list(replay(recording, replace(SETTINGS, learning=learning), out))
    return list(assembled(DirectorySink(out / "versions").read(), "default", NumpyServing()))


def test_they_say_what_the_learner_has_and_change_nothing_else(recording: Path, tmp_path: Path) -> None:
    plain = versions_of(recording, tmp_path / "without", ONLY_IU)
    carrying = versions_of(recording, tmp_path / "with", replace(ONLY_IU, histories=True))
    rows = stream().canonical()
    for version, other in zip(carrying, plain, strict=True):
        end = version.content.period.number * ROWS
        users, items, times, liked = (column[:end] for column in (rows.users, rows.items, rows.times, rows.labels == 1))
        model = ServingModel(version)
        assert model.histories is not None
        assert model.histories.until == times[liked].max()
        for user in set(users.tolist()):
            own = (users == user) & liked
            newest = int((own & (times == model.histories.until)).sum())
            assert model.own_history(user) == (items[own][::-1][:30].tolist(), newest)
        assert (version.content.format, other.content.format) == (3, 1)
        names = {name for name in version.tensors if not name.startswith("histories.")}
        assert names == other.tensors.keys()
        assert all(version.tensors[name].tobytes() == other.tensors[name].tobytes() for name in names)


def test_where_they_are_off_the_settings_are_those_of_releases_before_there_were_any() -> None:
    def fixed(**learning: bool) -> dict[str, object]:
        return fixed_for_store(RecordSettings(), EqualCount(count=10_000), LearningSettings(**learning))

    before = "d809f97533efc48c403d3976511689cbf7520338b71b53aebb021097b5e18071"
    assert settings_digest(fixed()) == settings_digest(fixed(histories=False)) == before
    assert {key: value for key, value in fixed(histories=True).items() if key not in fixed()} == {
        "learning.histories": True
    }

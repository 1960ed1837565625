"""`update` and `publish`: a period is done as a whole or not at all; what was stopped goes on as if it had not been."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgpack
import numpy as np
import pytest

from models.interactions import Interactions
from models.learning import LearningSettings, prepare_process
from models.pretraining import Pretraining
from stream_app.errors import Unavailable
from stream_app.events.periods import EqualCount
from stream_app.events.segment import END, PartitionSet, Segment
from stream_app.learning import Learner
from stream_app.pipeline import ingest, publish, update
from stream_app.sinks.directory import DirectorySink
from stream_app.store.journal import Journal
from stream_app.store.states import Store
from stream_app.synthetic import drifting_stream
from stream_app.versions.manifest import Envelope
from stream_app.versions.model_version import ModelVersion

ROWS, PERIODS = 200, 6
SETTINGS = LearningSettings(pretrain=3, passes=2, initialisations=2, batch=64, device="cpu", seed=1)


@pytest.fixture(autouse=True)
def _learner_process() -> None:
    prepare_process(SETTINGS)


@pytest.fixture(params=["int", "string"])
def rows(request: pytest.FixtureRequest) -> Interactions:
    """PERIODS full periods and a half, in canonical order, with ids of either kind."""
    found = drifting_stream(ROWS * PERIODS + ROWS // 2, users=40, items=30, seed=2).canonical()
    if request.param == "int":
        return found
    users, items = (np.array([f"é{n:04}" for n in ids.tolist()], dtype=object) for ids in (found.users, found.items))
    return Interactions(users, items, found.times, found.labels)


@pytest.fixture
def journal(tmp_path: Path, rows: Interactions) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "journal", {})
    segment = Segment(0, 0, len(rows) + 1, np.arange(len(rows)), rows, ((len(rows), END),))
    for position, record in enumerate((PartitionSet(1), segment)):
        ingest(opened, EqualCount(count=ROWS), record, position)
    yield opened
    opened.close()


def straight_through(journal: Journal, path: Path) -> list[ModelVersion]:
    """Every version, from one process that never stops and never reads its state back."""
    versions, state = [], None
    with Store.open(path) as store:
        while updated := update(journal, store, Learner(SETTINGS), state):
            state = updated.state
            versions += [updated.version] if updated.version else []
    return versions


def test_every_full_period_is_learned_once_and_versions_follow_each_other(
    journal: Journal, tmp_path: Path, rows: Interactions
) -> None:
    told: list[str] = []
    with Store.open(tmp_path / "store") as store:
        for period in range(1, PERIODS + 1):
            updated = update(journal, store, Learner(SETTINGS), stage=told.append)
            assert updated is not None
            assert updated.period.number == updated.outcome.period == store.last_period == period
            assert (updated.version is None) == (period < SETTINGS.pretrain)
            assert {"reading", "samples", "storing"} <= updated.seconds.keys() <= set(told)
        assert update(journal, store, Learner(SETTINGS)) is None
        versions = [waiting.version for waiting in store.outbox()]
        sources = [waiting.sources for waiting in store.outbox()]
    parent = ""
    for number, version in enumerate(versions, 1):
        content = msgpack.unpackb(version.content_bytes)
        period = SETTINGS.pretrain - 1 + number
        own = rows.select(slice(ROWS * (period - 1), ROWS * period))
        assert (content["version"], content["parent"], content["period"]["number"]) == (number, parent, period)
        assert content["rows"] == {"count": ROWS, "sha256": own.digest()}
        assert content["learning"]["method"] == content["decisions"]["chosen"]
        assert content["decisions"]["reason"].startswith("no period has been scored yet") == (number == 1)
        assert set(content["metrics"]) == {"iu", "row-statistics", "auto"}
        assert (content["metrics"]["iu"] is None) == (number == 1)
        parent = hashlib.sha256(version.content_bytes).hexdigest()
    assert len(versions) == PERIODS - SETTINGS.pretrain + 1
    assert [dict(found.offsets) for found in sources] == [{0: len(rows) + 1}] * len(sources)


def test_stopped_after_every_period_the_versions_are_the_same_bytes(journal: Journal, tmp_path: Path) -> None:
    expected = [version.content_bytes for version in straight_through(journal, tmp_path / "one")]
    found = []
    for _ in range(PERIODS):
        with Store.open(tmp_path / "other") as store:
            updated = update(journal, store, Learner(SETTINGS))
            assert updated is not None
            found += [updated.version.content_bytes] if updated.version else []
    assert found == expected


class _PowerCut(Exception):
    """Ends a process in the middle of pretraining."""


@pytest.mark.parametrize("rows", ["int"], indirect=True)
def test_pretraining_goes_on_from_its_last_pass(journal: Journal, tmp_path: Path) -> None:
    expected = straight_through(journal, tmp_path / "one")[0].content_bytes
    done: list[tuple[int, int]] = []

    def cut(passes: Pretraining) -> None:
        done.append((passes.initialisation, passes.passes))
        raise _PowerCut

    for _ in range(SETTINGS.pretrain - 1):
        with Store.open(tmp_path / "other") as store:
            update(journal, store, Learner(SETTINGS))
    for _ in range(SETTINGS.initialisations * SETTINGS.passes):
        with Store.open(tmp_path / "other") as store, pytest.raises(_PowerCut):
            update(journal, store, Learner(SETTINGS, cut))
    assert done == [(0, 1), (0, 2), (1, 1), (1, 2)]
    with Store.open(tmp_path / "other") as store:
        updated = update(journal, store, Learner(SETTINGS, cut))
        assert updated is not None
        assert updated.version is not None
        assert updated.version.content_bytes == expected


class _SometimesAway(DirectorySink):
    """A real sink that cannot be reached at the calls whose numbers are in `away`."""

    def __init__(self, path: Path, away: set[int]) -> None:
        super().__init__(path, "default")
        self.away, self.calls = away, 0

    def write(self, version: ModelVersion, envelope: Envelope) -> None:
        self.calls += 1
        if self.calls in self.away:
            raise Unavailable("away")
        super().write(version, envelope)


@pytest.mark.parametrize("rows", ["int"], indirect=True)
def test_an_outage_while_publishing_delays_and_skips_nothing(journal: Journal, tmp_path: Path) -> None:
    expected = [version.digest for version in straight_through(journal, tmp_path / "store")]
    sink = _SometimesAway(tmp_path / "versions", away={1, 3})
    sink.open()
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(Unavailable):
            publish(store, sink, "default")
        assert store.last_published == 0
        with pytest.raises(Unavailable):
            publish(store, sink, "default")
        assert store.last_published == 1
    with Store.open(tmp_path / "store") as store:
        assert publish(store, sink, "default") == [2, 3, 4]
        assert publish(store, sink, "default") == []
    assert [sink.head().digests[number] for number in (1, 2, 3, 4)] == expected

"""The publishing thread: who may publish, who waits, who ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from faust.types import TP
from simulators import chain

from benchmarks.whole_worker import check_history, until
from stream_app.errors import IncompatibleState, StopTheLine, Unavailable
from stream_app.live.stages.transport import Known
from stream_app.live.stages.window import Window
from stream_app.live.state_directory import JOURNAL
from stream_app.live.training import publisher as publisher_module
from stream_app.live.training.publisher import Publisher
from stream_app.live.worker import stage_of
from stream_app.live.worker_settings import WorkerSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.store.journal import Journal
from stream_app.store.states import Store
from stream_app.versions.messages import PROGRESS_KEY, Manifest
from stream_app.versions.model_version import ModelVersion

CHAIN = chain(5)


class Trainer:
    """A store that versions are put into by hand, and its publisher. error: what has ended it."""

    def __init__(self, settings: WorkerSettings, directory: Path, confirm: Callable[[], None]) -> None:
        self.store = Store.open(directory)
        sink = KafkaSink(settings.kafka, settings.topics.models, settings.model)
        self.publisher = Publisher(self.store, sink, settings.model, "", confirm)
        self.publisher.start()

    def makes(self, *versions: ModelVersion) -> None:
        for version in versions:
            self.store.commit(version.number, None, version)
            self.publisher.wake("updated", version.number)

    def published(self, number: int) -> None:
        until(lambda: self.store.last_published >= number or self.error is not None, f"version {number}")
        self.publisher.check()

    @property
    def error(self) -> Exception | None:
        try:
            self.publisher.check()
        except Exception as error:
            return error
        return None

    def close(self) -> None:
        self.publisher.close()
        self.store.close()


Made = Callable[..., Trainer]


@pytest.fixture
def trainer(settings: WorkerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """Trainers of one model with stores of their own; the verdict on a fencing comes after a second."""
    monkeypatch.setattr(publisher_module, "SETTLED_AFTER", 1.0)
    with ExitStack() as opened:

        def make(name: str, confirm: Callable[[], None] = lambda: None) -> Trainer:
            return opened.enter_context(closing(Trainer(settings, tmp_path / name, confirm)))

        yield make


def on_topic(settings: WorkerSettings) -> list[Manifest]:
    sink = KafkaSink(settings.kafka, settings.topics.models, settings.model)
    return [Manifest.unpack(value) for key, value in sink.read() if key and value and key.endswith(b"/manifest")]


@pytest.mark.broker
def test_of_two_publishers_with_windows_of_their_own_the_fenced_one_ends_and_names_both_epochs(
    settings: WorkerSettings, trainer: Made
) -> None:
    one, two = trainer("one"), trainer("two")
    one.makes(CHAIN[0])
    one.published(1)
    two.makes(*CHAIN[:2])
    two.published(2)
    one.makes(*CHAIN[1:3])
    until(lambda: one.error is not None, "one of them ends")
    assert isinstance(one.error, StopTheLine)
    assert "epoch 2 has taken over from this one (epoch 1)" in str(one.error)
    two.makes(*CHAIN[2:4])
    two.published(4)
    history = on_topic(settings)
    check_history(history)
    assert [one.digest for one in history] == [version.digest for version in CHAIN[:4]]


@pytest.mark.broker
def test_fenced_by_one_that_sent_nothing_a_publisher_goes_on(settings: WorkerSettings, trainer: Made) -> None:
    one = trainer("one")
    one.makes(CHAIN[0])
    one.published(1)
    other = KafkaSink(settings.kafka, settings.topics.models, settings.model)
    other.open()
    other.announce("is there")
    other.close()
    one.makes(CHAIN[1])
    one.published(2)
    assert [manifest.envelope.epoch for manifest in on_topic(settings)] == [1, 2]


@pytest.mark.broker
def test_a_fenced_publisher_whose_window_another_worker_has_waits_and_fences_nobody(
    settings: WorkerSettings, trainer: Made
) -> None:
    asked = []

    def not_ours() -> None:
        asked.append(1)
        raise Unavailable("the window is with another worker")

    one, two = trainer("one", not_ours), trainer("two")
    one.makes(CHAIN[0])
    one.published(1)
    two.makes(*CHAIN[:2])
    two.published(2)
    one.makes(*CHAIN[1:3])
    until(lambda: bool(asked), "the fenced one asks for its window")
    two.makes(*CHAIN[2:4])
    two.published(4)
    assert one.error is None
    assert one.store.last_published == 1
    check_history(on_topic(settings))


@pytest.mark.broker
def test_a_store_that_differs_from_the_topic_ends_the_publisher_and_nothing_is_sent(
    settings: WorkerSettings, trainer: Made
) -> None:
    one = trainer("one")
    one.makes(*CHAIN[:2])
    one.published(2)
    edited = trainer("edited")
    edited.makes(*chain(3, seed=9))
    until(lambda: edited.error is not None, "it ends")
    assert isinstance(edited.error, IncompatibleState)
    assert CHAIN[0].digest in str(edited.error)
    one.makes(CHAIN[2])
    one.published(3)
    history = on_topic(settings)
    check_history(history)
    assert {manifest.envelope.epoch for manifest in history} == {1}


@pytest.mark.broker
def test_progress_is_told_before_the_first_version_and_not_by_one_that_makes_old_versions_again(
    settings: WorkerSettings, trainer: Made
) -> None:
    sink = KafkaSink(settings.kafka, settings.topics.models, settings.model)

    def told() -> int:
        return sum(key == PROGRESS_KEY for key, _ in sink.read())

    one = trainer("one")
    one.publisher.wake("pretraining 1/2")
    until(lambda: told() == 1, "progress is told")
    one.makes(CHAIN[0])
    one.published(1)
    two = trainer("two")
    two.publisher.wake("pretraining 1/2")
    until(lambda: not two.publisher._woken.is_set(), "it has thought of telling")
    two.makes(CHAIN[0])
    two.published(1)
    assert told() == 1


@pytest.mark.broker
def test_an_empty_journal_is_refused_where_the_segments_of_published_versions_are_gone(
    settings: WorkerSettings, trainer: Made
) -> None:
    segments = TP(settings.topics.segments, 0)

    def check(known: Known) -> None:
        window = stage_of(settings, "window")
        assert isinstance(window, Window)
        asyncio.run(window.check_history({segments: known}))

    check(Known(None, 25, 40))  # nothing was published
    one = trainer("one")
    one.makes(CHAIN[0])
    one.published(1)
    with pytest.raises(StopTheLine, match=rf"at version 1, and {segments.topic} begins at offset 25.*--new-run"):
        check(Known(None, 25, 40))
    check(Known(None, 0, 40))  # all of it is there
    check(Known(30, 25, 40))  # a new run begins at its mark
    Journal.open(settings.state_directory / JOURNAL, {}).close()
    with pytest.raises(StopTheLine, match="is empty"):
        check(Known(None, 25, 40))

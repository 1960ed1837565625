"""What every place for versions must do, whether memory, directory or topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from simulators import MemorySink, chain, envelope, tiny_version

from stream_app.broker import KafkaSettings
from stream_app.errors import AsmgError, SettingsError
from stream_app.serving.computing import NumpyServing
from stream_app.sinks.directory import DirectorySink
from stream_app.sinks.kafka import KafkaSink
from stream_app.sinks.protocol import VersionReader, VersionSink
from stream_app.versions.assembler import assembled
from stream_app.versions.messages import PROGRESS_KEY, Manifest, Message, unpack_progress

CHAIN = chain(4)
Opened = Callable[..., VersionSink]
"""A sink on the same place every time it is called; the argument is the model."""


@pytest.fixture(params=["memory", "directory", pytest.param("kafka", marks=pytest.mark.broker)])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    made: list[VersionSink] = []
    kept = MemorySink()

    def memory(model: str = "default") -> VersionSink:
        other = MemorySink(model)
        other.log = kept.log
        return other

    def directory(model: str = "default") -> VersionSink:
        return DirectorySink(tmp_path / "versions", model)

    if request.param == "kafka":
        address, topic = request.getfixturevalue("broker"), request.getfixturevalue("model_topic")

    def kafka(model: str = "default") -> VersionSink:
        made.append(KafkaSink(KafkaSettings(address, transactional_id=topic), topic, model))
        return made[-1]

    yield {"memory": memory, "directory": directory, "kafka": kafka}[request.param]
    for each in made:
        each.close()


def numbers(sink: VersionSink, after: int = 0) -> list[int]:
    return [version.number for version in assembled(sink.read(after), "default", NumpyServing())]


def following(reader: VersionReader, count: int) -> list[Message]:
    """The next messages, `count` or more of them (a broker may take its time; this takes at most 30 s)."""
    log: list[Message] = []
    deadline = time.monotonic() + 30
    while len(log) < count and time.monotonic() < deadline:
        log += reader.poll(0.1)
    return log


def test_what_is_read_is_what_was_written(sink: Opened) -> None:
    place = sink()
    place.open()
    for version in CHAIN[:2]:
        place.write(version, envelope())
    for there, version in zip(assembled(place.read(), "default", NumpyServing()), CHAIN, strict=False):
        assert there.content_bytes == version.content_bytes
        assert [bytes(c) for _, c, _ in there.chunks()] == [bytes(c) for _, c, _ in version.chunks()]
    assert numbers(place) == [1, 2]
    assert numbers(place, after=1) == [2]
    assert numbers(place, after=2) == []


def test_an_empty_place_has_no_head_and_the_first_epoch_is_one(sink: Opened) -> None:
    head = sink().open()
    assert (head.version, head.digest, head.epoch, head.run, dict(head.digests)) == (0, "", 0, "", {})


def test_the_sink_sets_the_epoch_one_above_the_largest(sink: Opened) -> None:
    for expected, version in enumerate(CHAIN[:3], 1):
        place = sink()
        assert place.open().epoch == expected - 1
        place.write(version, envelope(epoch=77))
    epochs = [Manifest.unpack(v).envelope.epoch for k, v in sink().read() if k and v and k.endswith(b"manifest")]
    assert epochs == [1, 2, 3]
    head = sink().head()
    assert (head.version, head.digest, head.run) == (3, CHAIN[2].digest, "first")
    assert head.digests == {version.number: version.digest for version in CHAIN[:3]}


def test_the_same_version_again_changes_nothing(sink: Opened) -> None:
    place = sink()
    place.open()
    place.write(CHAIN[0], envelope())
    before = list(place.read())
    place.write(CHAIN[0], envelope())
    later = sink()
    later.open()
    later.write(CHAIN[0], envelope())
    assert list(later.read()) == before


def test_another_version_under_a_used_number_is_refused_and_nothing_changes(sink: Opened) -> None:
    place = sink()
    place.open()
    place.write(CHAIN[0], envelope())
    before = list(place.read())
    with pytest.raises(AsmgError) as refusal:
        place.write(tiny_version(1, seed=9), envelope())
    assert refusal.value.exit_code == 3
    assert list(place.read()) == before


def test_the_versions_of_another_model_are_not_mixed_with_ours(sink: Opened) -> None:
    place = sink()
    place.open()
    place.write(CHAIN[0], envelope())
    with pytest.raises(SettingsError, match="default"):
        sink("other").open()


def test_a_reader_sees_what_is_there_and_what_comes(sink: Opened) -> None:
    place = sink()
    place.open()
    place.write(CHAIN[0], envelope())
    size = len(list(CHAIN[0].messages(envelope())))
    with closing(sink().reader()) as reader:
        assert [v.number for v in assembled(following(reader, size), "default", NumpyServing())] == [1]
        place.write(CHAIN[1], envelope())
        assert [v.number for v in assembled(following(reader, size), "default", NumpyServing())] == [2]


def test_progress_reaches_a_reader(sink: Opened) -> None:
    place = sink()
    place.open()
    place.announce("pretraining 3/10")
    with closing(sink().reader()) as reader:
        ((key, value),) = following(reader, 1)
    assert key == PROGRESS_KEY
    assert value is not None
    assert unpack_progress(value, "default") == "pretraining 3/10"


def test_progress_is_no_version(sink: Opened) -> None:
    place = sink()
    place.open()
    place.announce("pretraining 3/10")
    assert sink().head().version == 0


def test_a_reader_says_how_far_behind_it_began_and_what_it_has_not_given_out(sink: Opened) -> None:
    place = sink()
    place.open()
    for version in CHAIN[:2]:
        place.write(version, envelope())
    with closing(sink().reader()) as reader:
        reader.begin(whole=True)
        began, log = reader.behind(), list[Message]()
        assert began is not None
        assert began > 0
        place.write(CHAIN[2], envelope())
        while reader.behind():
            log += reader.poll(0.1)
        assert {1, 2} <= {version.number for version in assembled(log, "default", NumpyServing())}
        while reader.lag() != 0:
            log += reader.poll(0.1)
        assert [version.number for version in assembled(log, "default", NumpyServing())] == [1, 2, 3]


def test_the_reader_of_an_empty_place_is_not_behind(sink: Opened) -> None:
    with closing(sink().reader()) as reader:
        reader.begin()
        assert reader.behind() == 0

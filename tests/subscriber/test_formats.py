"""Every format that a release has written is read at every place, from now on; a newer one is refused by its name."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from simulators import chain, envelope

from stream_app.errors import VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import DirectorySink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.cache import CacheWriter
from stream_app.versions.assembler import assembled
from stream_app.versions.manifest import FORMAT
from stream_app.versions.messages import Manifest, Message
from stream_app.versions.model_version import ModelVersion

LONG = 30.0
GOLDEN = sorted((Path(__file__).parents[1] / "versions").glob("format-*.msgpack"))
Settings = Callable[[ModelVersion, Manifest], SubscriberSettings]


def golden(path: Path) -> tuple[ModelVersion, Manifest]:
    messages: list[Message] = [(key, value) for key, value in msgpack.unpackb(path.read_bytes())]
    (version,) = assembled(messages, "default", NumpyServing())
    return version, Manifest.unpack(messages[-1][1] or b"")


@pytest.fixture(params=["directory", "cache"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Puts a version there, and says how it is followed."""

    def put(version: ModelVersion, manifest: Manifest) -> SubscriberSettings:
        if request.param == "directory":
            sink = DirectorySink(tmp_path)
            sink.open()
            sink.write(version, manifest.envelope)
            return SubscriberSettings(directory=tmp_path, poll=0.01)
        with closing(CacheWriter(tmp_path)) as writer:
            writer.write(ServingModel(version), manifest)
        return SubscriberSettings(cache=tmp_path, poll=0.01)

    return put


ANSWERS = {
    "format-1": [0.3039946, 0.2821973, 0.2437362],
    "format-2": [0.0832244, 0.1618227, 0.1532172],
    "format-3": [0.3039946, 0.2821973, 0.2437362],
    "format-3-categories": [0.0832244, 0.1618227, 0.1532172],
}
"""What the release that wrote it answered for "ö" and items 3, 9 and one that nobody knows, with a history of 2."""


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_file_serves_wherever_it_lies_and_answers_as_ever(path: Path, place: Settings) -> None:
    version, manifest = golden(path)
    with ModelSubscriber(place(version, manifest)) as subscriber:
        model = subscriber.wait(LONG)
        assert model.version.digest == version.digest
        answers = model.score("ö", [3, 9, 404], [2])
    np.testing.assert_allclose(answers, ANSWERS[path.stem], rtol=1e-5)


def test_there_is_a_golden_file_of_every_format() -> None:
    assert {golden(path)[0].content.format for path in GOLDEN} == set(range(1, FORMAT + 1))


def test_a_newer_format_is_refused_by_name_and_what_served_before_serves(place: Settings) -> None:
    refusals = list[VersionRejected]()
    one, two = chain(2)
    content = {**msgpack.unpackb(two.content_bytes), "format": FORMAT + 1}
    newer = replace(two, content_bytes=msgpack.packb(content))
    settings = place(one, Manifest(one.content, one.content_bytes, envelope()))
    with ModelSubscriber(settings, on_refusal=refusals.append) as subscriber:
        subscriber.wait(LONG)
        place(newer, Manifest(two.content, newer.content_bytes, envelope()))
        end = time.monotonic() + LONG
        while not refusals:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert f"format {FORMAT + 1} is unknown, this program reads 1 to {FORMAT}" in str(refusals[0])
        assert subscriber.health().digest == one.digest

"""A file that somebody has let grow without end is refused, and costs no memory."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from simulators import MODEL, chain, envelope

from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import DirectorySink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.cache import CacheWriter
from stream_app.versions.messages import Manifest

ONE, TWO = chain(2)
LARGE = 1 << 28
LONG = 30.0
Written = Callable[[Path], SubscriberSettings]


def directory(path: Path) -> SubscriberSettings:
    sink = DirectorySink(path, MODEL)
    sink.open()
    sink.announce("pretraining 1/2")
    for version in (ONE, TWO):
        sink.write(version, envelope())
    return SubscriberSettings(directory=path, poll=0.01)


def cache(path: Path) -> SubscriberSettings:
    with CacheWriter(path) as writer:
        for version in (ONE, TWO):
            writer.write(ServingModel(version), Manifest(version.content, version.content_bytes, envelope()))
    return SubscriberSettings(cache=path, poll=0.01)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        *((directory, "000002/manifest.msgpack"), (directory, "progress.msgpack")),
        *((cache, "current"), (cache, "*/manifest.msgpack"), (cache, "*/derived.msgpack")),
    ],
)
def test_a_file_without_end_is_refused_at_once(written: Written, name: str, tmp_path: Path) -> None:
    settings = written(tmp_path)
    for path in tmp_path.glob(name):
        os.truncate(path, LARGE)  # takes no room: what was never written is zeros
    tracemalloc.start()
    with ModelSubscriber(settings) as subscriber:
        end = time.monotonic() + LONG
        while not (subscriber.health().refusals or subscriber.health().trouble):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert subscriber.health().trouble == ""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < LARGE / 10

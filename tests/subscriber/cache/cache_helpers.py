"""What tests of a cache share: versions as their writer gets them, and what a reader makes of a directory."""

from __future__ import annotations

from pathlib import Path

from simulators import MODEL, chain, envelope

from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.subscriber.cache import CacheWriter, FollowCache
from stream_app.subscriber.following import Arrival
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import ModelVersion

CHAIN = chain(7)
SCORES = {version.number: ServingModel(version).score(11, [3, 2, 9], [4]).tolist() for version in CHAIN}


def given(version: ModelVersion, sent: Envelope | None = None) -> tuple[ServingModel, Manifest]:
    """What `CacheWriter.write` takes."""
    return ServingModel(version), Manifest(version.content, version.content_bytes, sent or envelope())


def written(path: Path, numbers: range, keep: int = 2) -> None:
    """A cache in `path`, written to the end."""
    with CacheWriter(path, keep) as writer:
        for number in numbers:
            writer.write(*given(CHAIN[number - 1]))


def reader(path: Path) -> FollowCache:
    return FollowCache(path, MODEL, NumpyServing())


def served(following: FollowCache) -> int | None:
    """The number of the version that arrives, whose scores are compared; None when none does. Refusals are raised."""
    number = None
    for news in list(following.poll(0)):
        if isinstance(news, Exception):
            raise news
        if isinstance(news, Arrival):
            number = news.model.version.number
            assert news.model.score(11, [3, 2, 9], [4]).tolist() == SCORES[number]
            assert news.manifest.digest == news.model.version.digest == CHAIN[number - 1].digest
    return number


def arrived(path: Path) -> Arrival:
    """What a new reader of the directory gets, and nothing else."""
    (news,) = reader(path).poll(0)
    assert isinstance(news, Arrival)
    return news


def folders(path: Path) -> list[str]:
    """Names of what is in the directory, but for `current` and `lock`."""
    return sorted(place.name for place in path.iterdir() if place.name not in ("current", "lock"))


def numbers(path: Path) -> list[int]:
    """Of the versions whose folders are there, and nothing else is."""
    return [int(name.partition("-")[0]) for name in folders(path)]

"""The fixed corpus: logs of a lying publisher as bytes, each with what it must be answered with, from now on."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgpack
import pytest
from place import Place, PlaceSettings

from stream_app.errors import VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.subscriber import ModelSubscriber
from stream_app.versions.assembler import Assembler
from stream_app.versions.signing import Keys

CASES = sorted(Path(__file__).with_name("corpus").glob("*.msgpack"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgpack.unpackb(path.read_bytes())
    return found


def test_the_corpus_is_there() -> None:
    assert len(CASES) >= 36


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_each_message_of_an_attack_is_answered_as_ever(path: Path) -> None:
    case = read(path)
    keys = Keys(tuple(case["keys"])) if case["keys"] else None
    assembler = Assembler("default", NumpyServing(), case["max_bytes"], keys)
    served, refused = [], []
    for key, value in case["log"]:
        try:
            version = assembler.feed(key, value)
        except VersionRejected as refusal:
            refused.append(type(refusal).__name__)
        else:
            served += [] if version is None else [version.digest]
        assert assembler.held_bytes <= case["max_bytes"]
    assert (served, refused) == (case["served"], case["refused"]), case["why"]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_subscriber_that_meets_the_attack_while_it_runs_serves_the_last_of_them(path: Path) -> None:
    case, place, swaps = read(path), Place(), list[str]()
    keys = tuple(base64.b64encode(key).decode() for key in case["keys"])
    settings = PlaceSettings(place=place, max_bytes=case["max_bytes"], keys=keys, poll=0.01)
    with ModelSubscriber(settings, on_swap=lambda model: swaps.append(model.version.digest)) as subscriber:
        for key, value in case["log"]:
            place.add([(key, value)])
        place.settle()
        assert subscriber.health().digest == case["served"][-1]
        assert subscriber.health().trouble == ""
    assert set(swaps) <= set(case["served"])

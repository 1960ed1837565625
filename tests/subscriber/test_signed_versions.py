"""A subscriber with keys: what they signed is served, anything else is a refusal that changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from key_pairs import Pair
from simulators import chain, envelope

from stream_app.errors import BadSignature, SettingsError, VersionRejected
from stream_app.sinks.directory import DirectorySink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.versions.signing import Signer

CHAIN = chain(3)
LONG = 30.0


def test_a_subscriber_with_keys_serves_what_they_signed_and_nothing_else(tmp_path: Path) -> None:
    ours, theirs, sink = Pair(tmp_path, "ours"), Pair(tmp_path, "theirs"), DirectorySink(tmp_path / "versions")
    sink.open()
    signed = [
        Signer(str(pair.private)).signed(version.content_bytes, envelope(epoch=sink.epoch))
        for pair, version in zip((ours, theirs, ours), CHAIN, strict=True)
    ]
    settings = SubscriberSettings(directory=sink.path, keys=(str(ours.public),), poll=0.01)
    refused: list[VersionRejected] = []
    with ModelSubscriber(settings, on_refusal=refused.append) as subscriber:
        for version, one in zip(CHAIN, signed, strict=True):
            sink.write(version, one)
            if version.number != 2:
                assert subscriber.wait(LONG, version.number).version.digest == version.digest
    assert [(type(refusal), refusal.version) for refusal in refused] == [(BadSignature, 2)]
    assert subscriber.health().swaps == 2


def test_a_key_that_is_none_is_said_when_the_subscriber_is_made() -> None:
    with pytest.raises(SettingsError, match=r"subscriber\.keys: number 1 is no file"):
        ModelSubscriber(SubscriberSettings(keys=("AAAA",)))

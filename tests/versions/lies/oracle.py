"""What an honest reader may serve, told by the messages that were sent and by nothing of the code under test.

1. Only a version that its publisher really published, with every byte of it.
2. Only when its manifest and each of its chunks have been sent, undamaged, under their own keys.
3. Each once, and never backwards: not in numbers within a run, not in epochs.
4. Where an operator has pinned one, that one and no other, backwards or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from stream_app.serving.model import ServingModel
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Message
from stream_app.versions.model_version import ModelVersion

USERS, ITEMS, HISTORY = [11, 7, 404], [3, 2, 404], [[4, 9], [], [404]]


@dataclass(frozen=True)
class Published:
    """A version as its publisher sent it, and what it answers."""

    version: ModelVersion
    sent: Envelope
    messages: tuple[Message, ...]
    answers: bytes

    @staticmethod
    def of(version: ModelVersion, sent: Envelope) -> Published:
        """Its answers are those of the version as it was built, before any of it travelled."""
        return Published(version, sent, tuple(version.messages(sent)), _first_answers(version))


@cache
def _first_answers(version: ModelVersion) -> bytes:
    return answers(ServingModel(version))


def answers(model: ServingModel) -> bytes:
    """Probabilities of known and unknown users and items, as bytes."""
    return model.score_pairs(USERS, ITEMS, HISTORY).tobytes()


class Oracle:
    """Knows what was published and what was sent."""

    def __init__(self) -> None:
        self.published: dict[str, list[Published]] = {}
        self._order: list[str] = []
        self._sent: set[Message] = set()

    def publishes(self, one: Published) -> None:
        """An honest publisher wants this version served from now on, whatever becomes of its messages."""
        self.published.setdefault(one.version.digest, []).append(one)
        self._order.append(one.version.digest)

    def hears(self, messages: Iterable[Message]) -> None:
        """These go out."""
        self._sent.update(messages)

    def went_out(self, one: Published) -> bool:
        """Whether every message of it was sent, in whatever order."""
        return self._sent.issuperset(one.messages)

    def check(self, model: ServingModel) -> None:
        """Fails unless somebody published just this (rules 1 and 2)."""
        digest = model.version.digest
        sendings = self.published.get(digest, [])
        assert sendings, f"version {model.version.number} ({digest}) was never published"
        assert any(map(self.went_out, sendings)), f"{digest} was never sent as a whole"
        assert model.version.content_bytes == sendings[0].version.content_bytes
        for name, array in sendings[0].version.tensors.items():
            np.testing.assert_array_equal(model.version.tensors[name], array, strict=True)
        assert answers(model) == sendings[0].answers

    def further(self, digest: str, before: str) -> bool:
        """Whether the publisher wanted this one served after `before` ("" for none)."""
        return not before or self._order.index(before) < self._order.index(digest)

"""What a subscriber hears, wherever it listens: the protocol between the places for versions and what serves them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from stream_app.errors import VersionRejected
from stream_app.serving.model import ServingModel
from stream_app.versions.messages import Manifest


@dataclass(frozen=True)
class Arrival:
    """A version that is to be served from now on: whole, verified, ready to score."""

    model: ServingModel
    manifest: Manifest


@dataclass(frozen=True)
class Stage:
    """What the trainer says it does, before the first version."""

    text: str


News = Arrival | Stage | VersionRejected
"""A refusal is told, not raised: it changes nothing of what is served."""


class Following(Protocol):
    """One place that is followed, by one thread. What it knows of the versions before outlives a lost connection.

    A place that is new to it is passed through first: of all that was there when it began only the newest version
    arrives. lag: what is there and was not taken yet, as of the last poll; None: not known. pinned: the version that
    an operator wants served, None when whatever is newest. Both may be read by other threads. outlives_fork: whether a
    process that was forked from this one may go on with its copy.
    """

    outlives_fork: bool

    @property
    def lag(self) -> int | None:
        """See the class."""

    @property
    def pinned(self) -> int | None:
        """See the class."""

    def poll(self, timeout: float) -> Iterator[News]:
        """What is new since the last call, in order; waits up to `timeout` seconds for the first.

        Raises Unavailable or AccessDenied: it cannot be read now. Call it again later; it then begins to read anew.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; `poll` may take it up again."""
        ...

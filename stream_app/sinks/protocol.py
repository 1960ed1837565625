"""What every place for versions can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from stream_app.versions.control import Pin
from stream_app.versions.head import Head
from stream_app.versions.manifest import Envelope
from stream_app.versions.messages import Message
from stream_app.versions.model_version import ModelVersion


class VersionReader(Protocol):
    """Follows a place: what is there, then what comes. One thread.

    whole: whether it began with everything that is there. If not, then with the newest version, whose digest is
    `newest`, and with what came behind it; and before that with the control record that was the newest then.
    """

    whole: bool
    newest: str

    def begin(self, pin: Pin | None = None, has: str = "", whole: bool = False) -> None:
        """Begins anew; the first `poll` begins by itself. Call it between polls; the rest of one is dropped then.

        pin: the version that is wanted instead of the newest; has: digest of the version that need not come again;
        whole: with everything, whatever a shorter way would be. Raises Unavailable.
        """
        ...

    def poll(self, timeout: float) -> Iterator[Message]:
        """The messages that are new since the last call, in order; waits up to `timeout` seconds for the first.

        Take them all before the next call. Raises Unavailable.
        """
        ...

    def behind(self) -> int | None:
        """What is still to come of that which was there when this reader began; 0: caught up, None: not known.

        Counts as `lag` does. Call it between polls, from the same thread.
        """
        ...

    def lag(self) -> int | None:
        """What is there and has not been given out; None: not known. A topic counts offsets, a directory versions."""
        ...

    def close(self) -> None:
        """Lets go of what reading needs."""
        ...


class VersionSink(Protocol):
    """One model's versions in one place. `write` needs `open` first; reading does not.

    epoch: of what it sends, 0 before that is known.
    """

    epoch: int

    def open(self) -> Head:
        """Called before the first `write`, and again after Fenced: says what is there, and changes nothing.

        The first that is sent replaces the publisher before; its epoch is one more than the largest there. Raises
        Unavailable; then it may be called again.
        """
        ...

    def write(self, version: ModelVersion, envelope: Envelope) -> None:
        """All of the version or nothing; the same version again changes nothing. The sink sets the envelope's epoch.

        Raises Unavailable (call it again, later), Fenced (another publisher was opened after this one), StopTheLine
        (the place holds another version under this number, another parent of it, or a newer run).
        """
        ...

    def announce(self, stage: str) -> None:
        """Tells subscribers what goes on before there is a version ("pretraining 4/10"). Errors as `write`."""
        ...

    def head(self) -> Head:
        """What is there now. Raises Unavailable, or SettingsError when the place holds another model's versions."""
        ...

    def read(self, after: int = 0) -> Iterator[Message]:
        """The messages of all versions that are there now and have a number above `after`. Raises Unavailable."""
        ...

    def reader(self) -> VersionReader:
        """For a subscriber. Raises Unavailable."""
        ...

    def close(self) -> None:
        """Lets go of what `open` took."""
        ...

"""Looks now and then whether all rights and topics are still there: clients that lose one may stay alive and silent.

A worker that has lost a right ends with its name, and so does one whose topic a broker says twice in a row not to have:
one that has just started may not know it yet. Not so one that a broker does not let in any more (a password that is
being changed): what is connected stays connected, so that it is only said, again and again. A broker that cannot be
reached is the business of those who need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import preflight
from stream_app.broker.rights import Right
from stream_app.errors import AccessDenied, AsmgError, TopicMissing, Unavailable
from stream_app.telemetry import event

EVERY = 10.0
"""Seconds between two looks; each is one connection to one broker, and some 20 ms of this process."""


class RightsWatch:
    """To be called often, outside the main thread: it may have to wait for a broker."""

    def __init__(self, kafka: KafkaSettings, rights: Sequence[Right], topics: Sequence[str] = ()) -> None:
        self._kafka, self._rights, self._topics, self._next = kafka, rights, topics, monotonic() + EVERY
        self._missed = False

    def __call__(self) -> bool:
        """False: nothing ends a worker here but what it raises: AccessDenied for a right, TopicMissing for a topic."""
        if monotonic() < self._next:
            return False
        missed, self._missed = self._missed, False
        try:
            preflight(self._kafka, self._topics, self._rights)
        except TopicMissing:
            if missed:
                raise
            self._missed = True
        except Unavailable:
            pass
        except AsmgError as error:
            if isinstance(error, AccessDenied) and error.resource:
                raise
            event("broker-refuses", "warning", reason=str(error))
        self._next = monotonic() + EVERY
        return False

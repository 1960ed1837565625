"""How old is what serves: counted from when it was sent, since a version that was sent long ago knows nothing newer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from stream_app.serving.model import ServingModel
from stream_app.subscriber.following import Arrival
from stream_app.subscriber.settings import SubscriberPolicy
from stream_app.versions.messages import Manifest


class Served(NamedTuple):
    """A version that serves. since, sent: when it began to, and when it was sent, in seconds since 1970."""

    model: ServingModel
    manifest: Manifest
    since: float
    sent: float

    @staticmethod
    def of(arrival: Arrival, now: float) -> Served:
        """Sent when its envelope says; now where that says nothing, or a time to come: a publisher whose clock is ahead
        must not keep its versions young."""
        return Served(arrival.model, arrival.manifest, now, min(_seconds(arrival.manifest.envelope.times), now))

    def age(self, now: float) -> float:
        """Seconds since it was sent."""
        return max(0.0, now - self.sent)

    def stale(self, policy: SubscriberPolicy, pinned: int | None, now: float) -> bool:
        """Whether it is older than `policy` allows. What is pinned never is: somebody wants it."""
        limit = policy.stale_after
        return limit is not None and self.age(now) > limit and pinned != self.model.version.number


def _seconds(times: Mapping[str, str | float | None]) -> float:
    """When an envelope says that it was sent: seconds, or text with a zone; infinity where it does not say."""
    sent = times.get("sent")
    if not isinstance(sent, str):
        return math.inf if sent is None else sent
    try:
        at = datetime.fromisoformat(sent)
    except ValueError:
        return math.inf
    return at.timestamp() if at.tzinfo is not None else math.inf

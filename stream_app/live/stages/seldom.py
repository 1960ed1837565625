"""Keeps a Kafka client that cannot reach its broker from saying so a hundred times a second."""

from __future__ import annotations

import logging
from time import monotonic

EVERY = 30.0
"""Seconds in which the same message is passed on once."""


class Seldom(logging.Filter):
    """For a handler: what aiokafka says over and over passes seldom, and as a warning, since it tries again itself."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to pass the record on; messages that differ only in what was filled in are the same."""
        if not record.name.startswith("aiokafka"):
            return True
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        now = monotonic()
        if now - self._said.get(str(record.msg), -EVERY) < EVERY:
            return False
        self._said[str(record.msg)] = now
        return True


def quiet_libraries() -> None:
    """Called once before a Faust app runs. What ends the app is raised, so Faust need not log it with its stack."""
    for name in ("faust", "mode"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for handler in logging.getLogger().handlers:
        handler.addFilter(Seldom())

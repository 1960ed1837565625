"""What becomes of subscribers in a process that is forked from theirs: threads are not forked.

Whoever follows a cache goes on with a thread of its own. Whoever follows a topic does not: the connection belongs to
the process before, and two that read from it would each get a part.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Whoever wants to know that it is a copy now."""

    def forked(self) -> None:
        """Called in the new process, before anything else runs there."""


_known: weakref.WeakSet[Forked] = weakref.WeakSet()


def tell_when_forked(one: Forked) -> None:
    """From now on, as long as it lives."""
    _known.add(one)


def _tell() -> None:
    for one in list(_known):
        one.forked()


if hasattr(os, "register_at_fork"):  # not where nothing is forked
    os.register_at_fork(after_in_child=_tell)

"""What the supervisor knows of its children, for whoever asks while it runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

STEADY = 60.0
"""Seconds after which a child counts as running well."""
LOOP = 3
"""Ends in a row, none of them after running well, that make a loop."""


@dataclass(frozen=True)
class ChildState:
    """process: its id, None while it does not run; code, said: how it ended last, and its last words."""

    name: str
    process: int | None = None
    since: float = 0.0
    ends: int = 0
    """Since it last ran well."""
    code: int | None = None
    said: str = ""

    def trouble(self, now: float) -> str:
        """Why it is not well at `now` (`monotonic`), "" if it is."""
        if self.ends >= LOOP and (self.process is None or now - self.since < STEADY):
            return f"ended {self.ends} times in a row, last with exit code {self.code}"
        if self.process is None:
            return "has not started yet" if self.code is None else f"ended with exit code {self.code}"
        return ""


class Children:
    """Told by the supervisor's thread, asked by any other.

    variables: by name, the environment that a child has beside ours; gone: called with its name when one has ended.
    """

    def __init__(
        self,
        names: Iterable[str],
        variables: Callable[[str], Mapping[str, str]] = lambda name: {},
        gone: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._lock = threading.Lock()
        self._states = {name: ChildState(name) for name in names}
        self._codes: Counter[tuple[str, int]] = Counter()
        self.variables, self._gone = variables, gone

    def started(self, name: str, process: int) -> None:
        """A child runs as this process now."""
        self._note(replace(self._states[name], process=process, since=monotonic()))

    def ended(self, name: str, code: int, said: str) -> None:
        """A child has ended; said: its last words."""
        state = self._states[name]
        ends = 1 if monotonic() - state.since > STEADY else state.ends + 1
        self._note(replace(state, process=None, ends=ends, code=code, said=said))
        with self._lock:
            self._codes[name, code] += 1
        self._gone(name)

    def states(self) -> list[ChildState]:
        """Of all children."""
        with self._lock:
            return list(self._states.values())

    def codes(self) -> dict[tuple[str, int], int]:
        """How often each child has ended, by (name, exit code)."""
        with self._lock:
            return dict(self._codes)

    def _note(self, state: ChildState) -> None:
        with self._lock:
            self._states[state.name] = state

"""Starts the children of `asmg worker`, keeps them running, and ends them all.

Rules:

1. A child that ends is started again, after 0.5 s at first and at most 30 s later. Exit codes 2 and 3 say that a
   restart cannot help: then everything ends, with that code and the child's own words.
2. A child ends when the pipe to its parent closes, so that nothing is left running whatever happens to the parent.
3. `until` is asked about once a second; once it says so, everything ends in the same way.
4. SIGTERM and SIGINT end everything within 5 s; whoever has not ended in order by then is killed, which loses nothing,
   since every write of a child is whole or not there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import IO, NoReturn

from stream_app.errors import AsmgError
from stream_app.live.children import STEADY, Children
from stream_app.telemetry import event, last_words_in, relay

FINAL = (2, 3)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a child starts again; the first also when it has run for STEADY seconds."""
GRACE = 4.0
ASK_EVERY = 1.0
_TICK = 0.05


class ChildFailed(AsmgError):
    """A child ended with an error that a restart cannot cure; everything else has been ended too."""

    def __init__(self, name: str, code: int, said: str) -> None:
        super().__init__(f"{name}: {said or f'ended with exit code {code}'}")
        self.name, self.exit_code, self.said = name, code, said


@dataclass(frozen=True)
class Child:
    """A process to keep running: its name in messages, and its command line."""

    name: str
    command: tuple[str, ...]


class _Running:
    """A child as it is now: running, or waiting for its next start."""

    def __init__(self, child: Child, seen: Children) -> None:
        self.child, self._seen = child, seen
        self.pause, self.start_at = FIRST_PAUSE, monotonic()
        self.process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._last_line = ""

    def start(self) -> None:
        # A session of its own: Ctrl-C in a terminal goes to the supervisor alone, which ends the children in order.
        self.process = subprocess.Popen(
            self.child.command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | self._seen.variables(self.child.name),
            start_new_session=True,
        )
        assert self.process.stderr is not None
        self._listener = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._listener.start()
        self.start_at = monotonic()
        self._seen.started(self.child.name, self.process.pid)

    def ended(self) -> int | None:
        """The exit code if it has just ended; plans its next start. Raises ChildFailed."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.close()
        said = last_words_in(self._last_line)
        self._seen.ended(self.child.name, code, said)
        if code in FINAL:
            raise ChildFailed(self.child.name, code, said)
        if monotonic() - self.start_at > STEADY:
            self.pause = FIRST_PAUSE
        self.start_at, self.pause = monotonic() + self.pause, min(2 * self.pause, LONGEST_PAUSE)
        return code

    def close(self) -> None:
        """Gives back the pipes of a process that has ended."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self._listener is not None
        self.process.stdin.close()
        self._listener.join(timeout=1.0)
        self.process = None

    def _listen(self, stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                text = line.decode(errors="replace").rstrip()
                self._last_line = text or self._last_line
                relay(self.child.name, text)


class _Asking:
    """Asks `until` in a thread of its own: it may have to wait for a broker, and signals must not."""

    def __init__(self, until: Callable[[], bool]) -> None:
        self._until, self._answer, self._stop = until, False, threading.Event()
        self._error: Exception | None = None
        threading.Thread(target=self._ask, name="until", daemon=True).start()

    @property
    def answer(self) -> bool:
        """Whether it has said so. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._answer

    def stop(self) -> None:
        self._stop.set()

    def _ask(self) -> None:
        try:
            while not self._answer and not self._stop.wait(ASK_EVERY):
                self._answer = self._until()
        except Exception as error:
            self._error = error


def supervise(
    children: Sequence[Child],
    told: threading.Event | None = None,
    until: Callable[[], bool] = lambda: False,
    seen: Children | None = None,
) -> bool:
    """Keeps `children` running until SIGTERM or SIGINT (or `told` is set), then ends them; returns False.

    until: asked about once a second, by one thread; once it returns true, the children are ended as well, and so does
    this. seen: told of every start and end. Call it in the main thread, where signals arrive. What the children say on
    stderr is passed on, with their names. Raises ChildFailed, and what `until` raises.
    """
    told = told or threading.Event()
    seen = seen or Children(child.name for child in children)
    running = [_Running(child, seen) for child in children]
    asking = _Asking(until)
    with _signals(told):
        try:
            while not asking.answer and not told.wait(_TICK):
                for child in running:
                    if (code := child.ended()) is not None:
                        again = round(child.start_at - monotonic(), 1)
                        event("child-ended", "warning", child=child.child.name, code=code, again_in=again)
                    if child.process is None and monotonic() >= child.start_at:
                        child.start()
            return asking.answer
        finally:
            asking.stop()
            _end([child for child in running if child.process is not None])


def _end(running: Sequence[_Running]) -> None:
    processes = [child.process for child in running if child.process is not None]
    for process in processes:
        process.terminate()
    deadline = monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for child in running:
        child.close()


@contextlib.contextmanager
def _signals(told: threading.Event) -> Iterator[None]:
    def tell(number: int, frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave() -> NoReturn:
    """Ends this process at once, with exit code 0. Call it when all is closed.

    Python's own way takes an interpreter that has torch in it apart first: seconds on a busy machine.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def end_with_parent() -> None:
    """Called first in a child: ends this process, in order, when its parent's end of stdin closes."""
    threading.Thread(target=_watch_parent, name="parent", daemon=True).start()


def _watch_parent() -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    # Nobody is left who would kill a process that does not end.
    threading.Event().wait(GRACE)
    os._exit(1)

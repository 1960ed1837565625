"""The processes of a backtest: as many jobs at once as asked for, one after the other until all seeds are finished.

Rules:
1. A job is our own command with "--job SEED": it reads the settings for itself and says on stdout where it stands,
   and nothing else.
2. A job ends when the pipe to its parent closes, so that nothing is left running whatever happens to the parent.
3. One job that fails ends the others, whose work is kept, and the command, with its own words and exit code.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from queue import SimpleQueue
from typing import IO

from stream_app.backtest.job import At
from stream_app.errors import AsmgError, StopTheLine
from stream_app.live.supervisor import GRACE
from stream_app.telemetry import last_words_in, relay

Said = SimpleQueue[tuple["_Running", str]]
"""Lines of jobs; an empty one says that a job's stdout has closed."""

_KEPT = "what is done is kept, the same command goes on"


class JobFailed(AsmgError):
    """A job ended with an error; the others have been ended too, and what they did is kept."""

    def __init__(self, seed: int, code: int, said: str) -> None:
        problem = said or f"its process ended with exit code {code}"
        self.seed, self.said = seed, said
        if code < 0:
            self.exit_code = StopTheLine.exit_code
            memory = " (memory ran out? fewer --jobs at once need less)" if code == -signal.SIGKILL else ""
            problem = f"its process was killed by {signal.Signals(-code).name}{memory}"
        else:
            self.exit_code = code
        super().__init__(f"seed {seed}: {problem}; {_KEPT}")


def run_jobs(
    command: Sequence[str],
    seeds: Sequence[int],
    at_once: int,
    variables: Mapping[str, str],
    told: Callable[[int, At | None], None],
) -> None:
    """Run a job for each of `seeds`, `at_once` at a time. variables: environment that they have beside ours.

    command: a command line that becomes a job's when "--job SEED" is added to it. told: the seed, and where its job
    stands; None when it is finished. Raises JobFailed.
    """
    said: Said = SimpleQueue()
    waiting, running = list(seeds), list[_Running]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_Running(waiting.pop(0), command, variables, said))
            job, line = said.get()
            if line:
                told(job.seed, At(**json.loads(line)))
                continue
            running.remove(job)
            job.close()
            told(job.seed, None)
    finally:
        for job in running:
            job.end()


class _Running:
    """A job's process; two threads listen to it."""

    def __init__(self, seed: int, command: Sequence[str], variables: Mapping[str, str], said: Said) -> None:
        self.seed, self._last_line = seed, ""
        # A session of its own: Ctrl-C in a terminal goes to the parent alone, which ends the jobs.
        self._process = subprocess.Popen(
            (*command, "--job", str(seed)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | variables,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = [
            threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True),
            threading.Thread(target=self._read, args=(self._process.stdout, said), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Give back the pipes of a process that has ended. Raises JobFailed when it did not end well."""
        code = self._process.wait()
        for thread in self._threads:
            thread.join()
        assert self._process.stdin is not None
        self._process.stdin.close()
        if code:
            raise JobFailed(self.seed, code, last_words_in(self._last_line) if code > 0 else "")

    def end(self) -> None:
        """End it, wherever it is: every write of a job is whole or not there."""
        self._process.terminate()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self, stdout: IO[bytes], said: Said) -> None:
        with stdout:
            for line in stdout:
                if line.endswith(b"\n"):  # else it was killed while it spoke
                    said.put((self, line.decode()))
        said.put((self, ""))

    def _listen(self, stderr: IO[bytes]) -> None:
        """All but the last words is passed on; those are for whoever starts jobs."""
        with stderr:
            for line in stderr:
                if self._last_line:
                    relay(f"seed {self.seed}", self._last_line)
                self._last_line = line.decode(errors="replace").rstrip()


def telling() -> Callable[[At], None]:
    """In a job, before anything of somebody's own is loaded: what tells the parent where it stands.

    Whatever else is printed goes to stderr from then on: a module of somebody's own may print, at any moment.
    """
    parent = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(at: At) -> None:
        parent.write(json.dumps(asdict(at)) + "\n")
        parent.flush()

    return tell

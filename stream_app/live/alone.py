"""One process of a kind for a state directory: two would fence each other in Kafka, under one member id, for ever."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from stream_app.errors import StopTheLine, StoreLocked, disk_refusal

PATIENCE = 6.0
"""Seconds that the process before us has to end: longer than the children of a killed supervisor outlive it."""
_POLL_SECONDS = 0.1


def member_id(group: str, state_directory: Path, index: int) -> str:
    """A static member id: host, state directory and number tell the processes of one group apart."""
    place = hashlib.sha256(str(state_directory.absolute()).encode()).hexdigest()[:8]
    return f"{group}-{socket.gethostname()}-{place}-{index}"


@contextmanager
def alone(directory: Path, role: str) -> Iterator[None]:
    """No other process is in this block with the same two arguments. The lock ends with the process, however it ends.

    Raises StoreLocked, naming the directory, when another one still is there after PATIENCE; StopTheLine when nothing
    can be written there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / f"{role}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        other = StopTheLine(f"{directory}: cannot be written ({error.strerror}); mend it (state_directory)")
        raise disk_refusal(directory, error.strerror) or other from error
    try:
        _locked(lock, directory)
        yield
    finally:
        os.close(lock)


def there(directory: Path) -> list[str]:
    """The roles in whose block a process is now. Whoever is about to enter one waits a moment longer for this."""
    return sorted(path.stem for path in directory.glob("*.lock") if _held(path))


def _held(path: Path) -> bool:
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _locked(lock: int, directory: Path) -> None:
    deadline = monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > deadline:
                raise StoreLocked(directory) from None
        sleep(_POLL_SECONDS)

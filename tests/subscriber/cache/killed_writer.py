"""Writes a cache again and again, killed at one file operation later each time: `killed_writer.py FOLDER KEEP NUMBER`.

FOLDER/before is a cache, maybe empty. Of its copy FOLDER/k the writer is sent SIGKILL when it is about to do its k-th
file operation (whatever Python's audit hooks tell, each fsync and each chunk). The version NUMBER is written. Prints
how often it was killed; the copy after those is that of a writer that was not.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from cache_helpers import CHAIN, given

from stream_app.subscriber.cache import CacheWriter
from stream_app.versions.model_version import ModelVersion

FILE_EVENTS = ("open", "os.", "shutil.", "fcntl.", "mmap.", "pathlib.", "glob.")


class Killed:
    """Ends this process where the count is reached."""

    def __init__(self, at: int) -> None:
        self._left = at

    def point(self, *_: Any) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        sync, chunks = os.fsync, ModelVersion.chunks

        def fsync(descriptor: int) -> None:
            self.point()
            sync(descriptor)

        def each(version: ModelVersion) -> Iterator[Any]:
            for chunk in chunks(version):
                self.point()
                yield chunk

        os.fsync = fsync
        ModelVersion.chunks = each
        sys.addaudithook(lambda event, _: self.point() if event.startswith(FILE_EVENTS) else None)


def main() -> None:
    folder, keep, version = Path(sys.argv[1]), int(sys.argv[2]), CHAIN[int(sys.argv[3]) - 1]
    for at in count(1):
        copy = folder / str(at)
        shutil.copytree(folder / "before", copy)
        child = os.fork()
        if not child:
            Killed(at).arm()
            with CacheWriter(copy, keep) as writer:
                writer.write(*given(version))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            print(at - 1)
            return
        assert os.WTERMSIG(status) == signal.SIGKILL, status


if __name__ == "__main__":
    main()

"""Versions in a directory: one folder each, `000001/manifest.msgpack` and `000001/model.safetensors`.

Both files are written into a hidden folder beside, synced, and the folder is renamed: a version is there as a whole
or not at all, whenever the writer is killed. What a killed writer leaves behind is hidden, never read, and removed by
the next one. `model.safetensors` is the version's chunks joined and can be opened by any safetensors library.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from stream_app.errors import IncompatibleState, VersionRejected, on_disk
from stream_app.sinks.durable import remove, sync_folder, write_synced
from stream_app.versions.control import Pin
from stream_app.versions.head import Head, head_of
from stream_app.versions.manifest import MANIFEST_BYTES, Envelope
from stream_app.versions.messages import PROGRESS_KEY, Manifest, Message, chunk_key, manifest_key, pack_progress
from stream_app.versions.model_version import ModelVersion

MANIFEST = "manifest.msgpack"
TENSORS = "model.safetensors"
PROGRESS = "progress.msgpack"
_ASIDE = ".writing-"


class DirectorySink:
    """The versions of one model in `path` (made when first written). One writer at a time; any number of readers."""

    def __init__(self, path: str | Path, model: str = "default") -> None:
        self.path, self.model = Path(path), model
        self.epoch = 0

    def open(self) -> Head:
        """Makes the directory, removes what a killed writer left, says what is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        for left in self.path.glob(f"{_ASIDE}*"):
            remove(left)
        head = self.head()
        self.epoch = head.next_epoch(str(self.path))
        return head

    def write(self, version: ModelVersion, envelope: Envelope) -> None:
        """Raises IncompatibleState when another version is there under this number; nothing is changed then.

        Raises DiskRefuses when there is no room: the version is not there then, and may be written again.
        """
        if not self.epoch:
            raise ValueError("open the sink before writing to it")
        target = self.path / f"{version.number:06d}"
        if (target / MANIFEST).exists():
            return self._compare(target, version)
        with on_disk(self.path):
            self._write(target, version, envelope)
        return None

    def _write(self, target: Path, version: ModelVersion, envelope: Envelope) -> None:
        aside = self.path / f"{_ASIDE}{target.name}"
        remove(aside)
        aside.mkdir()
        write_synced(aside / TENSORS, (chunk for _, chunk, _ in version.chunks()))
        manifest = Manifest.pack(version.content_bytes, envelope.model_copy(update={"epoch": self.epoch}))
        write_synced(aside / MANIFEST, [manifest])
        sync_folder(aside)
        aside.rename(target)
        sync_folder(self.path)

    def announce(self, stage: str) -> None:
        """Tells subscribers what is going on before the first version; see `VersionSink.announce`."""
        aside = self.path / f"{_ASIDE}{PROGRESS}"
        write_synced(aside, [pack_progress(self.model, stage)[1]])
        aside.rename(self.path / PROGRESS)

    def head(self) -> Head:
        """Raises SettingsError when the directory holds another model's versions."""
        return head_of((_bytes(folder / MANIFEST) for folder in self._folders()), self.model, str(self.path))

    def read(self, after: int = 0) -> Iterator[Message]:
        """Chunks and manifest of every version above `after`, as they would come over a topic."""
        for folder in self._folders():
            if int(folder.name) > after:
                yield from messages_in(folder, int(folder.name))

    def reader(self) -> DirectoryReader:
        """For a subscriber; the directory need not exist yet."""
        return DirectoryReader(self)

    def close(self) -> None:
        """Nothing is held open."""

    def _folders(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        return sorted((f for f in self.path.iterdir() if f.name.isdecimal()), key=lambda folder: int(folder.name))

    def _compare(self, target: Path, version: ModelVersion) -> None:
        try:
            there = Manifest.unpack(_bytes(target / MANIFEST)).digest
        except VersionRejected as refusal:
            there = f"damaged ({refusal.problem})"
        if there != version.digest:
            raise IncompatibleState(
                f"{target} is {there}, not this version {version.number} ({version.digest}); "
                "publish into another directory, or remove what is there"
            )


def check_removable(path: Path) -> None:
    """Return when directory `path` is not there or holds nothing but what a `DirectorySink` writes.

    Raises IncompatibleState naming what it does not know.
    """
    if not path.exists():
        return
    strangers = [path] if not path.is_dir() else [found for found in sorted(path.iterdir()) if not _is_ours(found)]
    if strangers:
        raise IncompatibleState(f"{strangers[0]} is no model version, so nothing is removed; move it away")


class DirectoryReader:
    """New folders as they appear, one at each poll; a folder is looked at once."""

    whole, newest = True, ""

    def __init__(self, sink: DirectorySink) -> None:
        self._sink, self._progress = sink, b""
        self.begin()

    def begin(self, pin: Pin | None = None, has: str = "", whole: bool = False) -> None:
        """See `VersionReader.begin`."""
        self._seen, self._at_start = set[str](), self._names()

    def poll(self, timeout: float) -> Iterator[Message]:
        """The messages of the first folder not seen before; without any, sleeps for `timeout` seconds."""
        progress = _bytes(self._sink.path / PROGRESS)
        if progress != self._progress:
            self._progress = progress
            yield PROGRESS_KEY, progress
        fresh = next((folder for folder in self._sink._folders() if folder.name not in self._seen), None)
        if fresh is None:
            time.sleep(timeout)
        else:
            self._seen.add(fresh.name)
            yield from messages_in(fresh, int(fresh.name))

    def behind(self) -> int:
        """See `VersionReader.behind`."""
        return len(self._at_start - self._seen)

    def lag(self) -> int:
        """See `VersionReader.lag`."""
        return len(self._names() - self._seen)

    def _names(self) -> set[str]:
        return {folder.name for folder in self._sink._folders()}

    def close(self) -> None:
        """Nothing is held open."""


def messages_in(folder: Path, number: int) -> Iterator[Message]:
    """What lies in the folder of version `number`, not judged: a damaged file becomes damaged messages, and whoever
    takes those refuses them. The last chunk is a byte too long when the file is."""
    value = _bytes(folder / MANIFEST)
    try:
        chunks = Manifest.unpack(value, number).content.chunks
        with (folder / TENSORS).open("rb") as file:
            for chunk in chunks:
                size = chunk.size + (chunk is chunks[-1])
                yield chunk_key(number, chunk.index, chunk.digest), file.read(size)
    except (VersionRejected, FileNotFoundError):
        pass  # the manifest alone, then
    yield manifest_key(number), value


def _is_ours(found: Path) -> bool:
    if found.name == PROGRESS or found.name.startswith(_ASIDE):
        return True
    if not (found.name.isdecimal() and found.is_dir()):
        return False
    names = {file.name for file in found.iterdir()}
    return MANIFEST in names and names <= {MANIFEST, TENSORS}


def _bytes(path: Path) -> bytes:
    """A folder without its file is damaged like one with an empty file; of one that is too large, enough to say so."""
    try:
        with path.open("rb") as file:
            return file.read(MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return b""

"""The writer of a cache: what it leaves on the disk, in which order, and whom it refuses."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cache_helpers import CHAIN, arrived, folders, given, numbers, reader, served, written
from simulators import envelope, tiny_version

from benchmarks.small_disk import small_disk
from stream_app.errors import CacheInUse, DiskRefuses
from stream_app.serving.model import ServingModel
from stream_app.subscriber.cache import CacheWriter
from stream_app.subscriber.cache import writer as writer_module
from stream_app.subscriber.cache.writer import read_current


class Disk:
    """Every write, rename and sync below a folder, as a disk hears of them; `unsynced`: what it may have lost yet.

    At each rename to a name that is read it checks that a power failure just after would leave what it names whole.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.unsynced = root, set[Path]()
        self.renamed: list[str] = []
        sync = os.fsync

        def fsync(descriptor: int) -> None:
            self.unsynced.discard(Path(f"/proc/self/fd/{descriptor}").resolve())
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        sys.addaudithook(self.hear)
        self.hearing = True

    def hear(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.hearing or not given or not isinstance(given[0], str | Path):
            return
        path = Path(given[0])
        if self.root not in path.parents:
            return
        if (event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax")) or event == "os.mkdir":
            self.unsynced |= {path, path.parent} - {self.root}  # a name aside that gets lost is no loss
        if event == "os.rename":
            self.rename(path, Path(given[1]))

    def rename(self, old: Path, new: Path) -> None:
        self.renamed.append(new.name.partition("-")[0])
        if new.name.startswith(".removing"):
            assert self.root not in self.unsynced, "removed before `current` is sure to name another"
            return
        assert not {path for path in self.unsynced if path == old or old in path.parents}, "named before it was synced"
        if new.name == "current":
            assert self.root not in self.unsynced, "current names a folder that may be lost"
        self.unsynced.add(self.root)


def test_whenever_the_power_fails_current_names_a_folder_that_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cache"
    written(root, range(1, 4), keep=1)
    disk = Disk(root, monkeypatch)
    try:
        with CacheWriter(root, keep=1) as writer:
            for number in (4, 3, 5):
                writer.write(*given(CHAIN[number - 1]))
                assert not disk.unsynced, "it is there when `write` returns"
    finally:
        disk.hearing = False
    assert disk.renamed == ["000004", "current", ".removing", "current", "000005", "current", ".removing"]


def test_current_and_those_before_it_are_kept_and_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "somebody's").mkdir()
    (tmp_path / "notes.txt").write_text("not ours")
    with CacheWriter(tmp_path, keep=2) as writer:
        for number in (1, 2, 3, 4, 5, 3, 6):
            writer.write(*given(CHAIN[number - 1]))
    kept = [name for name in folders(tmp_path) if name[0].isdigit()]
    assert [name.partition("-")[0] for name in kept] == ["000003", "000005", "000006"]
    assert set(folders(tmp_path)) - set(kept) == {"notes.txt", "somebody's"}


@pytest.mark.parametrize("keep", [-1, 1001])
def test_how_many_are_kept_is_checked_before_anything_is_made(tmp_path: Path, keep: int) -> None:
    with pytest.raises(ValueError, match=f"keep is {keep}, expected 0 to 1000"):
        CacheWriter(tmp_path / "cache", keep)
    assert not (tmp_path / "cache").exists()


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    written(tmp_path, range(1, 4))

    def looked() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("0*/*")}

    before, following = looked(), reader(tmp_path)
    assert served(following) == 3
    written(tmp_path, range(3, 4))
    assert (served(following), looked()) == (None, before)
    written(tmp_path, range(2, 3))
    assert (served(following), looked()) == (2, before)


def test_the_same_version_sent_in_a_new_run_is_a_folder_beside(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    with CacheWriter(tmp_path) as writer:
        writer.write(*given(CHAIN[0], envelope(epoch=2, run="second")))
    assert arrived(tmp_path).manifest.envelope.run == "second"
    assert numbers(tmp_path) == [1, 1]


@pytest.mark.parametrize("file", ["model.safetensors", "manifest.msgpack"])
def test_a_damaged_folder_is_replaced_by_one_beside_it(tmp_path: Path, file: str) -> None:
    written(tmp_path, range(1, 3))
    (damaged,) = tmp_path.glob(f"000002-*/{file}")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    written(tmp_path, range(2, 3))
    assert served(reader(tmp_path)) == 2
    current = read_current(tmp_path)
    assert current is not None
    assert current.folder == f"{damaged.parent.name}.2"


@pytest.mark.parametrize("size", range(28_672, 160_000, 16_384))
def test_on_a_full_disk_the_version_before_serves_and_with_room_it_goes_on(tmp_path: Path, size: int) -> None:
    """Whichever file it is that finds no room."""
    large = tiny_version(2, CHAIN[0].digest, users=range(2000))
    with small_disk(tmp_path / "disk", size) as disk, CacheWriter(tmp_path / "disk" / "cache", keep=0) as writer:
        writer.write(*given(CHAIN[0]))
        refusal = ""
        try:
            writer.write(*given(large))
        except DiskRefuses as error:
            refusal = str(error)
        if refusal:
            assert re.match(f"{disk.named}.*make room there .* and start again: nothing is lost", refusal)
            assert numbers(writer.path) in ([1], [1, 2]), "what was begun is gone"
            assert served(reader(writer.path)) == 1
        else:
            assert size > (120_000 if disk.mounted else 90_000)
        disk.grow()
        writer.write(*given(large))
        assert arrived(writer.path).model.version.digest == large.digest


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PATIENCE", 0.0)
    with CacheWriter(tmp_path) as first:
        first.write(*given(CHAIN[0]))
        with pytest.raises(CacheInUse, match=f"^{tmp_path}: another process writes this cache"):
            CacheWriter(tmp_path)
        first.write(*given(CHAIN[1]))
        assert served(reader(tmp_path)) == 2
    written(tmp_path, range(3, 4))
    assert served(reader(tmp_path)) == 3


def test_the_next_writer_waits_for_the_one_before_to_end(tmp_path: Path) -> None:
    first = CacheWriter(tmp_path)
    ending = threading.Timer(0.3, first.close)
    ending.start()
    written(tmp_path, range(1, 2))
    ending.join()
    assert served(reader(tmp_path)) == 1


@contextmanager
def forked(does: Callable[[], object]) -> Iterator[bool]:
    """Whether a process that is forked can do it; it lives as long as the block."""
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        said = b"no"
        try:
            does()
            said = b"yes"
        finally:
            os.write(tell, said)
            signal.pause()
    try:
        yield os.read(ready, 3) == b"yes"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(tell)


def test_a_forked_process_neither_writes_nor_holds_the_lock(tmp_path: Path) -> None:
    first = CacheWriter(tmp_path)
    first.write(*given(CHAIN[0]))

    def tries() -> None:
        with pytest.raises(ValueError, match="forked"):
            first.write(*given(CHAIN[1]))

    with forked(tries) as refused:
        assert refused
        first.write(*given(CHAIN[1]))
        first.close()
        written(tmp_path, range(3, 4))
        assert served(reader(tmp_path)) == 3


def test_what_readers_have_mapped_stays_theirs_when_it_is_removed(tmp_path: Path) -> None:
    written(tmp_path, range(1, 2))
    model = arrived(tmp_path).model
    written(tmp_path, range(2, 6), keep=0)
    assert numbers(tmp_path) == [5]
    assert model.score(11, [3, 2, 9], [4]).tolist() == ServingModel(CHAIN[0]).score(11, [3, 2, 9], [4]).tolist()
    assert not model.version.tensors["parameters.user"].flags.writeable

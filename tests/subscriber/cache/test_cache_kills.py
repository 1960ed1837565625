"""`kill -9` of a cache's writer at every file operation: a whole version is served, before and after its restart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cache_helpers import CHAIN, folders, given, numbers, reader, served, written

from stream_app.subscriber.cache import CacheWriter
from stream_app.subscriber.cache.folder import read_folder
from stream_app.subscriber.cache.records import Current

HERE = Path(__file__).resolve().parent
PATHS = [str(HERE), str(HERE.parent.parent), str(HERE.parent.parent.parent)]
KEEP = 1


def killed(folder: Path, write: str) -> list[Path]:
    """Copies of FOLDER/before, one for each operation that the writer did not live to do; the last one it finished."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}
    command = [sys.executable, str(HERE / "killed_writer.py"), str(folder), str(KEEP), write]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [folder / str(at) for at in range(1, int(done.stdout) + 2)]


def assert_whole(cache: Path) -> None:
    """Every folder that has the name of a version holds all of it, whether it is served or not."""
    for name in folders(cache):
        if not name.startswith("."):
            number = int(name.partition("-")[0])
            one = Current(folder=name, version=number, digest=CHAIN[number - 1].digest)
            read_folder(cache, one, lambda manifest: None)


@pytest.mark.parametrize(
    ("before", "write", "least"),
    [
        pytest.param([], 1, 25, id="the first version"),
        pytest.param([1, 2, 3], 4, 35, id="the next one, with one to remove"),
        pytest.param([1, 2, 3], 2, 12, id="back to one that is there"),
    ],
)
def test_killed_at_every_file_operation_a_whole_version_is_served_and_the_next_writer_goes_on(
    tmp_path: Path, before: list[int], write: int, least: int
) -> None:
    (tmp_path / "before").mkdir()
    for number in before:
        written(tmp_path / "before", range(number, number + 1), KEEP)
    copies = killed(tmp_path, str(write))
    assert len(copies) > least, "the points are met"
    old, seen = before[-1] if before else None, []
    for copy in copies:
        assert_whole(copy)
        seen.append(served(reader(copy)))
        following = reader(copy)
        assert served(following) == seen[-1]
        with CacheWriter(copy, KEEP) as writer:
            assert served(reader(copy)) == seen[-1], "a writer that only starts changes nothing"
            assert not [name for name in folders(copy) if name.startswith(".")]
            writer.write(*given(CHAIN[write - 1]))
            assert served(following) == (write if seen[-1] != write else None)
            writer.write(*given(CHAIN[write]))
            assert served(following) == write + 1
        assert numbers(copy) == [write, write + 1]
    turn = seen.index(write)
    assert seen == [old] * turn + [write] * (len(seen) - turn), "once it is served it stays"


def test_a_writer_killed_while_it_mends_what_a_killed_one_left_leaves_a_whole_version(tmp_path: Path) -> None:
    written(tmp_path / "before", range(1, 4), KEEP)
    for left in (".writing-000004-000000000000", ".removing-000001-000000000000"):
        (tmp_path / "before" / left).mkdir()
        (tmp_path / "before" / left / "model.safetensors").write_bytes(b"half")
    (tmp_path / "before" / ".writing-current").write_bytes(b"half")
    for copy in killed(tmp_path, "3"):
        assert served(reader(copy)) == 3
        with CacheWriter(copy, KEEP):
            assert numbers(copy) == [2, 3]

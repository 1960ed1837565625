"""A directory of versions: files anybody can read, and nothing half-written whenever the writer is killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgpack
import pytest
from simulators import chain, envelope, tiny_version

from stream_app.errors import DigestMismatch, IncompatibleState
from stream_app.serving.computing import NumpyServing
from stream_app.sinks.directory import MANIFEST, TENSORS, DirectorySink
from stream_app.versions.assembler import assembled
from stream_app.versions.messages import manifest_key

CHAIN = chain(3)


def written(path: Path, count: int) -> DirectorySink:
    sink = DirectorySink(path)
    sink.open()
    for version in CHAIN[:count]:
        sink.write(version, envelope())
    return sink


def test_files_are_the_content_and_the_chunks(tmp_path: Path) -> None:
    written(tmp_path, 2)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["000001", "000002"]
    for number, version in enumerate(CHAIN[:2], 1):
        content = msgpack.unpackb((tmp_path / f"{number:06d}" / MANIFEST).read_bytes())["content"]
        assert hashlib.sha256(content).hexdigest() == version.digest
        data = (tmp_path / f"{number:06d}" / TENSORS).read_bytes()
        assert data == b"".join(bytes(chunk) for _, chunk, _ in version.chunks())


def test_what_a_killed_writer_leaves_is_not_a_version_and_is_removed(tmp_path: Path) -> None:
    written(tmp_path, 1)
    left = tmp_path / ".writing-000002"
    left.mkdir()
    (left / TENSORS).write_bytes(b"half of it")
    reader = DirectorySink(tmp_path)
    assert [v.number for v in assembled(reader.read(), "default", NumpyServing())] == [1]
    assert reader.head().version == 1
    sink = DirectorySink(tmp_path)
    sink.open()
    assert not left.exists()
    sink.write(CHAIN[1], envelope())
    assert [v.number for v in assembled(reader.read(), "default", NumpyServing())] == [1, 2]


WRITER = """
import sys
from pathlib import Path
from simulators import envelope, tiny_version
from stream_app.sinks.directory import DirectorySink

sink, parent = DirectorySink(Path(sys.argv[1])), ""
sink.open()
for number in range(1, 100_000):
    version = tiny_version(number, parent)
    sink.write(version, envelope())
    parent = version.digest
    print(number, flush=True)
"""


def test_kill_at_any_moment_leaves_only_whole_versions(tmp_path: Path) -> None:
    tests = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None
        printed = [int(writer.stdout.readline()) for _ in range(20)][-1]
        writer.send_signal(signal.SIGKILL)
    there = [version.number for version in assembled(DirectorySink(tmp_path).read(), "default", NumpyServing())]
    assert there == list(range(1, len(there) + 1))
    assert len(there) >= printed, "what was reported as written is there"


def test_a_damaged_file_is_refused_when_read(tmp_path: Path) -> None:
    sink = written(tmp_path, 1)
    file = tmp_path / "000001" / TENSORS
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(DigestMismatch):
        list(assembled(sink.read(), "default", NumpyServing()))


@pytest.mark.parametrize("damage", [b"", b"torn"])
def test_a_damaged_manifest_is_not_written_over(tmp_path: Path, damage: bytes) -> None:
    sink = written(tmp_path, 1)
    (tmp_path / "000001" / MANIFEST).write_bytes(damage)
    with pytest.raises(IncompatibleState, match="000001"):
        sink.write(CHAIN[0], envelope())
    assert (tmp_path / "000001" / MANIFEST).read_bytes() == damage


def test_another_version_under_the_number_is_named(tmp_path: Path) -> None:
    sink = written(tmp_path, 1)
    with pytest.raises(IncompatibleState, match=CHAIN[0].digest):
        sink.write(tiny_version(1, seed=5), envelope())


def test_reading_makes_no_directory(tmp_path: Path) -> None:
    sink = DirectorySink(tmp_path / "none")
    assert list(sink.read()) == []
    assert sink.head().version == 0
    with closing(sink.reader()) as reader:
        assert list(reader.poll(0)) == []
    assert not (tmp_path / "none").exists()


def test_a_reader_gives_one_version_at_a_time_so_that_it_can_be_stopped(tmp_path: Path) -> None:
    with closing(written(tmp_path, 3).reader()) as reader:
        for left in (2, 1, 0):
            assert [key for key, _ in reader.poll(0) if key and key.endswith(b"manifest")] == [manifest_key(3 - left)]
            assert (reader.behind(), reader.lag()) == (left, left)


def test_writing_needs_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="open"):
        DirectorySink(tmp_path).write(CHAIN[0], envelope())

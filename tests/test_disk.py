"""A disk that is full, read-only or damaged: one clear end, nothing wrong published, and the remedy in it works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from replay_helpers import PERIODS, SETTINGS, published, stream, write

from benchmarks.small_disk import small_disk, without_root_rights
from stream_app.broker import KafkaSettings
from stream_app.errors import DiskRefuses, StoreCorrupted
from stream_app.live.cluster.topics import TopicSettings, create
from stream_app.replay import PeriodResult, replay
from stream_app.store.database import translated

NOBODY = 65534
Versions = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "stream.parquet", stream())


@pytest.fixture(scope="module")
def whole(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The versions where nothing goes wrong."""
    out = tmp_path_factory.mktemp("whole") / "out"
    replayed(recording, out)
    return published(out)


def replayed(recording: Path, out: Path) -> list[PeriodResult]:
    return list(replay(str(recording), SETTINGS, out))


@pytest.mark.parametrize(("full", "size"), [("journal", 60_000), ("store", 300_000), ("versions", 40_000)])
def test_on_a_full_disk_a_replay_ends_and_with_room_it_goes_on_to_the_same_versions(
    recording: Path, whole: Versions, tmp_path: Path, full: str, size: int
) -> None:
    out = tmp_path / "out"
    with small_disk(out / full, size) as disk:
        with pytest.raises(DiskRefuses, match=f"^{disk.named}.*make room there .* and start again: nothing is lost"):
            replayed(recording, out)
        assert published(out).items() < whole.items()
        disk.grow()
        assert [result.period for result in replayed(recording, out)] == [*range(1, PERIODS + 1)]
        assert published(out) == whole


@contextmanager
def without_rights() -> Iterator[None]:
    """Root may write everywhere: be somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("used", [False, True])
def test_in_a_read_only_directory_a_replay_ends_and_with_the_right_to_write_it_goes_on(
    whole: Versions, used: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own may be entered by its user only
        out, recording = Path(name, "out"), write(Path(name, "stream.parquet"), stream())
        out.mkdir()
        Path(name).chmod(0o755)
        if used:
            steps = replay(str(recording), SETTINGS, out)
            next(steps)
            steps.close()
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
            folder.chmod(0o555)
        with (
            without_rights(),
            pytest.raises(DiskRefuses, match=f"^{out / 'journal'}: .*give this user the right to it"),
        ):
            replayed(recording, out)
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
        for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        assert len(replayed(recording, out)) == PERIODS
        assert published(out) == whole


@pytest.mark.broker
@pytest.mark.parametrize("forbidden", [".", "state/faust"])
def test_a_child_that_may_not_write_its_state_directory_ends_for_good_before_it_reads_anything(
    broker: str, tmp_path: Path, forbidden: str
) -> None:
    (tmp_path / forbidden).mkdir(parents=True, exist_ok=True)
    (tmp_path / forbidden).chmod(0o555)
    name = uuid.uuid4().hex[:8]
    topics = TopicSettings(f"in-{name}", f"segments-{name}", f"models-{name}", f"dead-{name}")
    create(KafkaSettings(broker), topics)
    command = [sys.executable, "-m", "stream_app.cli", "worker", "--child", "window"]
    pairs = (
        *(f"state_directory={tmp_path / 'state'}", f"kafka.bootstrap={broker}"),
        *(f"topics.{key}={getattr(topics, key)}" for key in ("interactions", "segments", "models", "dead_letters")),
    )
    with subprocess.Popen(
        [*command, *(word for pair in pairs for word in ("--set", pair))],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=without_root_rights,
    ) as child:
        assert child.wait(timeout=60) == 3
        assert child.stderr is not None
        said = child.stderr.read()
    assert said.startswith(f"asmg: {tmp_path / 'state'}")
    assert said.endswith(f": Permission denied; {DiskRefuses.RIGHT}\n")


def test_a_lack_of_memory_stops_no_line_a_new_process_has_its_own(tmp_path: Path) -> None:
    with pytest.raises(MemoryError, match=str(tmp_path)), translated(tmp_path):
        raise Exception("IO error: Cannot allocate memory: While mmap file for read")  # as rocksdict passes it on


def flip(file: Path) -> None:
    """What a failing disk does: some bytes in the middle are others."""
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    file.write_bytes(data)


def shorten(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.fixture(scope="module")
def halfway(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A replay that was left after four periods: as it lay there when it was killed, and when it had ended in order."""
    folder = tmp_path_factory.mktemp("halfway")
    steps = replay(str(recording), SETTINGS, folder / "ended")
    for _ in range(4):
        next(steps)
    shutil.copytree(folder / "ended", folder / "killed")
    steps.close()
    return folder / "killed", folder / "ended"


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "flipped bytes in the data": ("*.sst", flip),
    "half of CURRENT": ("CURRENT", shorten),
    "no data": ("*.sst", Path.unlink),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["journal", "store"])
def test_a_damaged_database_ends_a_replay_and_moved_away_it_is_made_anew_to_the_same_versions(
    recording: Path, whole: Versions, halfway: tuple[Path, Path], tmp_path: Path, name: str, damage: str
) -> None:
    out = shutil.copytree(halfway[1], tmp_path / "out")
    files, act = DAMAGES[damage]
    for file in list((out / name).glob(files)):
        act(file)
    before = published(out)

    with pytest.raises(StoreCorrupted, match=f"^{out / name}: .*; move this directory away and start again"):
        replayed(recording, out)
    assert published(out) == before
    (out / name).rename(tmp_path / "aside")
    assert [result.period for result in replayed(recording, out)] == [*range(1, PERIODS + 1)]
    assert published(out) == whole


@pytest.mark.parametrize(("ended", "files"), [(False, "*.log"), (True, "MANIFEST-*")])
@pytest.mark.parametrize("name", ["journal", "store"])
def test_damage_that_looks_like_the_end_of_a_file_takes_a_database_back_and_it_catches_up_to_the_same_versions(
    recording: Path, whole: Versions, halfway: tuple[Path, Path], tmp_path: Path, name: str, ended: bool, files: str
) -> None:
    out = shutil.copytree(halfway[ended], tmp_path / "out")
    for file in list((out / name).glob(files)):
        flip(file)
    try:
        replayed(recording, out)
    except StoreCorrupted:  # where RocksDB can tell it from a write that was cut off
        (out / name).rename(tmp_path / "aside")
        replayed(recording, out)
    assert published(out) == whole

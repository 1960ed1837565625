"""The supervisor: children are kept running, a final error ends everything, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from live_helpers import PATIENCE

from stream_app.errors import StoreCorrupted
from stream_app.live.supervisor import Child, ChildFailed, supervise

LIVING = "from stream_app.live.supervisor import end_with_parent; end_with_parent(); import time; time.sleep(600)"


def child(name: str, code: str) -> Child:
    return Child(name, (sys.executable, "-c", code))


def mark(path: Path) -> str:
    """Code that writes its process id into `path`, one line a start."""
    return f"import os; open({str(path)!r}, 'a').write(f'{{os.getpid()}}\\n');"


def lines(path: Path, count: int) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or len(path.read_text().split()) < count:
        assert time.monotonic() < deadline, f"{path} has not {count} lines"
        time.sleep(0.02)
    return [int(line) for line in path.read_text().split()]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("code", [2, 3])
def test_a_final_error_ends_the_other_children_and_is_told_in_the_words_of_the_child(tmp_path: Path, code: int) -> None:
    words = "import sys; print('asmg: the journal is from another run', file=sys.stderr)"
    steady = child("steady", mark(tmp_path / "steady") + LIVING)
    # It waits for the other one, so that there is something to end.
    waits = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'steady')!r}): time.sleep(0.02)\n"
    with pytest.raises(ChildFailed, match="window: the journal is from another run") as caught:
        supervise([steady, child("window", f"{waits}{words}; sys.exit({code})")])
    assert caught.value.exit_code == code
    assert gone(lines(tmp_path / "steady", 1)[0])


def test_a_child_that_crashes_is_started_again(tmp_path: Path) -> None:
    told = threading.Event()
    starts = tmp_path / "starts"
    watcher = threading.Thread(target=lambda: (lines(starts, 3), told.set()))
    watcher.start()
    supervise([child("collect", mark(starts) + "raise SystemExit(1)")], told)
    watcher.join()
    assert len(set(lines(starts, 3))) >= 3


def test_until_ends_the_children_in_order_and_what_it_raises_is_told(tmp_path: Path) -> None:
    steady = child("steady", mark(tmp_path / "steady") + LIVING)
    assert supervise([steady], until=(tmp_path / "steady").exists)
    assert gone(lines(tmp_path / "steady", 1)[0])

    def unfit() -> bool:
        lines(tmp_path / "steady", 2)
        raise StoreCorrupted("the journal is damaged")

    with pytest.raises(StoreCorrupted, match="the journal is damaged"):
        supervise([steady], until=unfit)
    assert gone(lines(tmp_path / "steady", 2)[1])


def test_a_child_that_fails_for_good_ends_the_wait_for_the_end_with_its_own_code(tmp_path: Path) -> None:
    failing = child("trainer", "raise SystemExit(3)")
    with pytest.raises(ChildFailed) as caught:
        supervise([child("steady", LIVING), failing], until=lambda: False)
    assert caught.value.exit_code == 3


def test_a_supervisor_that_is_killed_leaves_no_child_behind(tmp_path: Path) -> None:
    code = (
        "import sys; from stream_app.live.supervisor import Child, supervise;"
        f"supervise([Child('steady', (sys.executable, '-c', {mark(tmp_path / 'pid') + LIVING!r}))])"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code])
    pid = lines(tmp_path / "pid", 1)[0]
    supervisor.kill()
    supervisor.wait()
    assert gone(pid)


def test_sigterm_ends_also_a_child_that_does_not_listen(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + mark(tmp_path / "pid")
    code = (
        "import sys; from stream_app.live.supervisor import Child, supervise;"
        f"supervise([Child('deaf', (sys.executable, '-c', {deaf + 'time.sleep(600)'!r}))])"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code])
    pid = lines(tmp_path / "pid", 1)[0]
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(timeout=PATIENCE)
    assert supervisor.returncode == 0
    assert gone(pid)

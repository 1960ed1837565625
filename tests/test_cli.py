"""The command line: whatever goes wrong is one line on stderr and a documented exit code, and nothing is lost by it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from replay_helpers import FLAGS, PERIODS, SETTINGS, asmg, clean, published, stream, write

from stream_app.cli.main import EXIT_CODES, main, parser
from stream_app.errors import StoreLocked
from stream_app.live.trainer_status import TrainerStatus
from stream_app.replay import replay
from stream_app.store.database import Database
from stream_app.store.journal import Journal
from stream_app.store.layout import pack

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "stream.parquet", stream())


@pytest.fixture(scope="module")
def done(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a replay leaves; tests only look at it."""
    out = tmp_path_factory.mktemp("done")
    list(replay(recording, SETTINGS, out))
    return out


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def nobody() -> str:
    """An address where no broker is: the port was free a moment ago."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{held.getsockname()[1]}"


def one_line(said: str) -> str:
    assert said.count("\n") == 1, said
    assert said.startswith("asmg: ")
    return said


# In processes of their own: what a user gets to see.


def test_a_wrong_setting_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "asmg.toml").write_text("[kafka]\nbotstrap = 'x'\n")
    ended = asmg("topics", "create", cwd=tmp_path)
    assert ended.returncode == 2
    assert "setting kafka.botstrap" in one_line(ended.stderr)
    assert "did you mean bootstrap?" in ended.stderr


def test_a_missing_file_ends_with_2_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = asmg("replay", "nowhere.parquet", "--out", "run", cwd=tmp_path)
    assert ended.returncode == 2
    assert "nowhere.parquet: there is no such file" in one_line(ended.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_column_ends_with_2_and_leaves_nothing_behind(recording: Path, tmp_path: Path) -> None:
    ended = asmg("replay", recording, "--set", "records.user=who", "--out", "run", cwd=tmp_path)
    assert ended.returncode == 2
    assert "has no column 'who'" in one_line(ended.stderr)
    assert "user_id, item_id, timestamp, label" in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["topics", "create"], ["subscribe", "--count", "1"]])
def test_a_broker_that_is_not_there_ends_with_4(arguments: list[str], tmp_path: Path) -> None:
    address = nobody()
    ended = asmg(*arguments, cwd=tmp_path, ASMG_KAFKA__BOOTSTRAP=address)
    assert ended.returncode == 4
    assert f"Kafka cannot be reached at {address}" in one_line(ended.stderr)


def test_a_locked_database_ends_with_3_and_the_holder_goes_on(recording: Path, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run" / "journal", {})
    ended = asmg("replay", recording, *FLAGS, "--out", "run", cwd=tmp_path)
    assert ended.returncode == 3
    assert "run/journal" in one_line(ended.stderr)
    assert journal.position == 0
    journal.close()


def test_a_store_of_an_unknown_format_ends_with_3_and_is_left_as_it_is(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "run" / "store"
    later = Database.open(path)
    later.write({b"format": pack({"kind": "store", "format": 99})})
    later.close()
    ended = asmg("replay", recording, *FLAGS, "--out", "run", cwd=tmp_path)
    assert ended.returncode == 3
    assert "format" in one_line(ended.stderr)
    assert "99" in ended.stderr
    reader = Database.open(path, read_only=True)
    assert reader.get(b"format") == pack({"kind": "store", "format": 99})
    reader.close()


# In this process: the same `main`.


def test_the_command_line_itself_may_be_wrong(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        ["nonsense"],
        ["replay"],
        ["replay", "f", "--periods", "0"],
        ["replay", "f", "--period-length", "x"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "--help" in one_line(capsys.readouterr().err)


def test_a_pair_without_a_value_is_a_wrong_setting(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--set", "learning.seed"]) == 2
    assert "--set section.key=value" in one_line(capsys.readouterr().err)


def test_an_error_nobody_foresaw_ends_with_1_and_debug_shows_where(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stream_app.cli import config

    def broken(arguments: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(config, "show", broken)
    assert main(["config", "show"]) == 1
    assert "unexpected RuntimeError: two lines" in one_line(capsys.readouterr().err)
    assert main(["--debug", "config", "show"]) == 1
    assert "Traceback" in capsys.readouterr().err


WORKER_ONLY = ("torch", "faust", "rocksdict", "pyarrow", "msgspec", "aiokafka", "matplotlib")


def python(script: str, cwd: Path) -> str:
    """What a script prints in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, env=clean({}), capture_output=True, text=True, check=True
    )
    return ended.stdout


def test_a_plain_install_says_which_commands_need_the_worker(tmp_path: Path) -> None:
    script = f"""
import contextlib, io, sys
sys.modules.update(dict.fromkeys({WORKER_ONLY}))  # importing one of them now fails as if it were not installed
from stream_app.cli.main import main
for command in ("worker", "status", "periods list", "versions show", "replay f.csv", "produce f.csv", "config show"):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        print(main(command.split()), "pip install 'asmg-stream[worker]'" in said.getvalue())
"""
    assert python(script, tmp_path).splitlines() == ["2 True"] * 7


def test_nothing_of_the_worker_is_loaded_for_serving(tmp_path: Path) -> None:
    script = f"""
import sys
from stream_app.cli.main import main
print(main(["topics", "create", "--set", "kafka.bootstrap={nobody()}"]))
print([name for name in ({WORKER_ONLY} + ("models",)) if name in sys.modules])
"""
    assert python(script, tmp_path).splitlines() == ["4", "[]"]


def test_options_may_stand_before_or_after_the_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--set", "learning.seed=5", "config", "show"], ["config", "show", "--set", "learning.seed=5"]):
        assert main(arguments) == 0
        assert json.loads(capsys.readouterr().out)["learning"]["seed"] == 5
    assert main(["--set", "model=before", "config", "show", "--set", "learning.seed=6"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["model"], shown["learning"]["seed"]) == ("before", 6)


def test_the_children_of_a_worker_get_the_same_settings() -> None:
    from stream_app.cli.worker import child_command

    given = parser().parse_args(
        ["--set", "model=a", "worker", "--config", "x.toml", "--set", "collectors=2", "--debug"]
    )
    assert child_command(given)[1:] == [
        *("-m", "stream_app.cli", "worker", "--config", "x.toml"),
        *("--set", "model=a", "--set", "collectors=2", "--debug"),
    ]


def test_lists_and_single_entries_of_a_state_directory(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["periods", "list", "--state", str(done), "--json"]) == 0
    periods = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in periods] == ["trained", *["published"] * (PERIODS - 1), "open"]
    assert [row["rows"] for row in periods] == [*[150] * PERIODS, 5]
    assert main(["snapshots", "list", "--state", str(done), "--json"]) == 0
    assert [row["period"] for row in json.loads(capsys.readouterr().out)] == [3, 4, 5, 6]
    assert main(["versions", "list", "--state", str(done), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {f"{row['version']:06d}": row["digest"] for row in listed} == {
        folder: content for folder, (content, _) in published(done).items()
    }
    assert main(["versions", "show", "2", "--state", str(done), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed[1]
    assert main(["versions", "show", "--state", str(done)]) == 0
    assert json.loads(capsys.readouterr().out) == listed[-1]
    assert main(["periods", "list", "--state", str(done)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["period", "state", "rows", "start", "end", "late"]
    assert len(lines) == PERIODS + 2


def test_an_entry_that_is_not_there_is_named_with_those_that_are(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["versions", "show", "99", "--state", str(done)]) == 2
    assert "has no version 99; there are: 1, 2, 3, 4, 5" in one_line(capsys.readouterr().err)


def test_a_state_directory_that_is_not_there_is_a_wrong_setting(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["periods", "list"]) == 2
    assert "asmg-state is not there" in one_line(capsys.readouterr().err)
    assert list(here.iterdir()) == []


def test_status_without_a_broker_says_what_it_can_and_ends_with_4(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASMG_KAFKA__BOOTSTRAP", nobody())
    assert main(["status"]) == 4
    said = capsys.readouterr()
    assert "open period 1" in said.out
    assert "cannot be reached" in one_line(said.err)
    assert main(["status", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["open_period"]["rows"] == 0


def test_new_run_forgets_the_replay_and_nothing_else(
    recording: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["replay", str(recording), *FLAGS, "--set", "learning.initialisations=1", "--out", "run"]
    assert main(run) == 0
    before = published(here / "run")
    (here / "run" / "notes.txt").write_text("mine")
    assert main([*run, "--seed", "1"]) == 3
    assert "learning.seed was 0" in one_line(capsys.readouterr().err)
    assert published(here / "run") == before
    assert main([*run, "--seed", "1", "--new-run"]) == 0
    assert published(here / "run").keys() == before.keys()
    assert published(here / "run") != before
    assert (here / "run" / "notes.txt").read_text() == "mine"


def test_the_readme_documents_every_exit_code() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE))
    assert set(re.findall(r"^  (\d+) ", EXIT_CODES, re.MULTILINE)) <= documented


def test_a_new_run_puts_the_old_state_aside_but_not_under_a_running_worker(here: Path) -> None:
    from stream_app.cli.worker import _begin_anew

    state = here / "asmg-state"
    state.mkdir()
    (state / "trainer.json").write_text(json.dumps(asdict(TrainerStatus(process=os.getpid()))))
    with pytest.raises(StoreLocked):
        _begin_anew(state)
    assert [path.name for path in here.iterdir()] == ["asmg-state"]
    (state / "trainer.json").write_text(json.dumps(asdict(TrainerStatus())))
    _begin_anew(state)
    (aside,) = here.glob("asmg-state.before-*")
    assert (aside / "trainer.json").exists()
    assert not (state / "trainer.json").exists()


def test_a_new_run_that_finds_no_broker_leaves_the_state_where_it_is(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASMG_KAFKA__BOOTSTRAP", nobody())
    (here / "asmg-state").mkdir()
    assert main(["worker", "--new-run"]) == 4
    assert "cannot be reached" in one_line(capsys.readouterr().err)
    assert [path.name for path in here.iterdir()] == ["asmg-state"]

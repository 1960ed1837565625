"""The command line: whatever goes wrong is one line on stderr and a documented exit code, and nothing is lost by it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from replay_helpers import FLAGS, PERIODS, SETTINGS, asmg, clean, published, stream, write

from stream_app.cli.main import EXIT_CODES, main, parser
from stream_app.cli.subscribe import news_of, say, why
from stream_app.replay import replay
from stream_app.replay.forget import forget
from stream_app.store.database import Database
from stream_app.store.journal import Journal
from stream_app.store.layout import pack
from stream_app.subscriber import Health

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
for command in ("worker", "status", "periods list", "versions show", "replay f.csv", "produce f.csv",
                "generate f.csv", "config show"):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        print(main(command.split()), "pip install 'asmg-stream[worker]'" in said.getvalue())
"""
    assert python(script, tmp_path).splitlines() == ["2 True"] * 8


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
    assert [row["period"] for row in json.loads(capsys.readouterr().out)] == [5, 6]
    assert main(["versions", "list", "--state", str(done), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {f"{row['version']:06d}": row["digest"] for row in listed} == {
        folder: content for folder, (content, _) in published(done).items()
    }
    assert [row["method"] for row in listed] == [row["learning"]["method"] for row in listed]
    assert main(["versions", "show", "2", "--state", str(done), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed[1]
    assert main(["versions", "show", "--state", str(done)]) == 0
    assert json.loads(capsys.readouterr().out) == listed[-1]
    assert main(["periods", "list", "--state", str(done)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["period", "state", "rows", "start", "end", "late", "dead_lettered", "dropped"]
    assert len(lines) == PERIODS + 2


@pytest.mark.parametrize("cut", [("--periods", "3", "--pretrain", "2"), ("--period-length", "400d")])
def test_a_flag_that_cuts_periods_leaves_what_becomes_of_late_rows_as_it_was_set(
    cut: tuple[str, ...], recording: Path, tmp_path: Path
) -> None:
    learning = ("--set", "learning.passes=1", "--set", "learning.initialisations=1", "--device", "cpu")
    late = ("--set", "periods.late=drop", "--set", "periods.lateness=5")
    assert main(["replay", str(recording), *cut, *learning, *late, "--out", str(tmp_path / "run")]) == 0
    periods = json.loads((tmp_path / "run" / "report.json").read_text())["settings"]["periods"]
    assert (periods["late"], periods["lateness"]) == ("drop", 5.0)


def test_an_entry_that_is_not_there_is_named_with_those_that_are(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["versions", "show", "99", "--state", str(done)]) == 2
    assert "has no version 99; there are: 1, 2, 3, 4, 5" in one_line(capsys.readouterr().err)
    assert main(["versions", "show", "0", "--state", str(done)]) == 2
    assert "has no version 0; there are: 1" in one_line(capsys.readouterr().err)


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


@pytest.mark.parametrize("candidates", ['["magic"]', '["iu", "iu"]'])
def test_a_wrong_candidate_of_auto_is_refused_by_its_setting(
    candidates: str, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(recording), "--set", f"learning.selection.candidates={candidates}"]) == 2
    assert "setting learning.selection.candidates: must" in one_line(capsys.readouterr().err)


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


@pytest.mark.parametrize("mine", ["store/data.txt", "journal/000004.log.txt", "versions/notes.txt", "versions/1/a.csv"])
def test_new_run_refuses_what_no_replay_made(
    mine: str, recording: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Journal.open(here / "run" / "journal", {"recording.sha256": None}).close()
    (here / "run" / mine).parent.mkdir(parents=True, exist_ok=True)
    (here / "run" / mine).write_text("mine")
    assert main(["replay", str(recording), *FLAGS, "--out", "run", "--new-run"]) == 3
    assert f"run/{Path(mine).parts[0]}/{Path(mine).parts[1]}" in one_line(capsys.readouterr().err)
    assert (here / "run" / mine).read_text() == "mine"
    assert (here / "run" / "journal" / "CURRENT").exists()


def test_new_run_refuses_a_database_of_another_program_or_kind(
    recording: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = Database.open(here / "run" / "store")
    theirs.write({b"key": b"value"})
    theirs.close()
    before = {file.name: file.read_bytes() for file in (here / "run" / "store").iterdir()}
    assert main(["replay", str(recording), *FLAGS, "--out", "run", "--new-run"]) == 3
    assert "run/store: is no store" in one_line(capsys.readouterr().err)
    assert {name: (here / "run" / "store" / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    "made", [[], ["recording.sha256", "ranking", "learning.negatives"]], ids=["worker", "backtest"]
)
def test_new_run_refuses_the_journal_of_another_command(made: list[str], recording: Path, here: Path) -> None:
    Journal.open(here / "run" / "journal", dict.fromkeys(made)).close()
    before = {file.name: file.read_bytes() for file in (here / "run" / "journal").iterdir()}
    assert main(["replay", str(recording), *FLAGS, "--out", "run", "--new-run"]) == 3
    assert {file.name: file.read_bytes() for file in (here / "run" / "journal").iterdir()} == before


def test_new_run_refuses_a_run_that_goes_on(recording: Path, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "run" / "journal", {"recording.sha256": None})
    ended = asmg("replay", recording, *FLAGS, "--out", "run", "--new-run", cwd=tmp_path)
    assert ended.returncode == 3
    assert "run/journal: the database is open in another process" in one_line(ended.stderr)
    assert (tmp_path / "run" / "journal" / "CURRENT").exists()
    journal.close()


def test_new_run_is_the_way_out_of_a_damaged_database(tmp_path: Path) -> None:
    Journal.open(tmp_path / "journal", {}).close()
    (tmp_path / "journal" / "CURRENT").write_text("MANIFEST-999999\n")
    later = Database.open(tmp_path / "store")
    later.write({b"format": pack({"kind": "store", "format": 99})})
    later.close()
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_periods_that_pretraining_uses_up_are_a_wrong_setting(
    recording: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(recording), "--periods", "4", "--pretrain", "4"]) == 2
    said = one_line(capsys.readouterr().err)
    assert "learning.pretrain" in said
    assert "--periods 4" in said
    assert list(here.iterdir()) == []


def test_a_shuffled_recording_that_scores_nothing_says_why(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = stream()
    write(here / "shuffled.parquet", rows.select(np.random.default_rng(1).permutation(len(rows))))
    flags = ["--set", "periods.count=400", "--set", "periods.lateness=0", "--pretrain", "4", "--device", "cpu"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["replay", "shuffled.parquet", *flags]) == 0
    said = capsys.readouterr()
    late = json.loads((here / "shuffled-replay" / "report.json").read_text())["totals"]["late_rows"]
    assert late > len(rows) / 2
    assert f"{late} of {len(rows)} rows came late" in one_line(said.err)
    assert "sort it by timestamp, or raise periods.lateness" in said.err
    assert "no score and no version: pretraining takes the first 4 periods, 2 were full" in said.out


def test_late_rows_are_listed_with_the_period_in_which_they_came(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = stream()
    order = np.arange(len(rows))
    late = rows.select(np.concatenate([order[1:400], order[:1], order[400:]]))  # one row, after the 399 next
    settings = replace(SETTINGS, learning=replace(SETTINGS.learning, pretrain=PERIODS))
    list(replay([late.select(order[cut : cut + 100]) for cut in range(0, len(order), 100)], settings, here / "run"))
    assert main(["periods", "list", "--json", "--state", "run"]) == 0
    listed = [row["late"] for row in json.loads(capsys.readouterr().out) if row["state"] != "open"]
    # The second period, rows 150 to 299, closes with the hundred that hold row 300, and with the late one.
    assert listed == [0, 1, 0, 0, 0, 0]


def test_a_subscriber_says_what_keeps_it_once_per_change(capsys: pytest.CaptureFixture[str]) -> None:
    well = Health(stage="pretraining")
    refused = replace(well, refusals=1, last_refusal="version 1: chunk 2 is damaged")
    away = replace(refused, trouble="no broker")
    serving = replace(refused, state="serving", version=1)
    stale = replace(serving, stale=True, age=90.0)
    staler = replace(stale, age=91.0)
    said: dict[str, str] = {}
    pinned = replace(serving, pinned=1)
    for health in (well, well, refused, refused, away, away, refused, away, serving, stale, staler, pinned, serving):
        said = say(said, news_of(health), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "no version yet: pretraining",
        "last refusal: version 1: chunk 2 is damaged",
        "trouble: no broker",
        "trouble: no broker",
        "stale: version 1 is older than subscriber.stale_after allows",
        "pinned: version 1, whatever is published",
    ]
    assert why(news_of(replace(away, stage=""))) == "; trouble: no broker; last refusal: version 1: chunk 2 is damaged"
    assert why(news_of(serving)) == "; last refusal: version 1: chunk 2 is damaged"
    say({}, news_of(away), as_json=True)
    assert capsys.readouterr().out == ""


def test_the_readme_documents_every_exit_code() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", README.read_text(), re.MULTILINE))
    assert set(re.findall(r"^  (\d+) ", EXIT_CODES, re.MULTILINE)) <= documented


def test_a_new_run_that_finds_no_broker_leaves_the_state_where_it_is(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASMG_KAFKA__BOOTSTRAP", nobody())
    (here / "asmg-state").mkdir()
    assert main(["worker", "--new-run"]) == 4
    assert "cannot be reached" in one_line(capsys.readouterr().err)
    assert [path.name for path in here.iterdir()] == ["asmg-state"]

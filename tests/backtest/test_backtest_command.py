"""`asmg backtest` for the person who types it: what it says, and one clear line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from replay_helpers import FLAGS, stream, write

from stream_app.cli.main import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a recording, to be in."""
    write(tmp_path / "stream.parquet", stream())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_file_says_the_methods_and_the_end_says_what_was_found(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "study.toml").write_text('[learning]\nmethods = [{method = "asmg-averaged", hidden = 2}]\nseed = 4\n')
    given = ["backtest", "stream.parquet", "--config", "study.toml", *FLAGS, "--seeds", "1", "--last", "2"]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "iu joins the methods: gains are gains over it" in said
    assert "\nasmg-averaged: " in said
    assert "A period costs" in said
    assert "one seed only" in said
    report = json.loads((here / "stream-backtest" / "report.json").read_text())
    assert report["seeds"] == [4]
    assert report["methods"] == ["iu", "asmg-averaged", "auto"]
    assert {period["chosen"] for period in report["runs"][0]["periods"]} == {None, "asmg-averaged"}
    assert [method.get("hidden") for method in report["settings"]["learning"]["methods"]] == [None, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "iu,magic"], "there is no method 'magic'"),
        (["--methods", ""], "there is no method ''"),
        (["--methods", "iu,iu"], "must name each method once, got ['iu', 'iu']; compare variants of one in runs of"),
        (["--periods", "10"], "--periods 10 leaves no other"),
        (["--set", "learning.serve=magic"], "serve"),
        (["--truth", "nothing", "--periods", "20"], "has no column 'nothing'"),
    ],
)
def test_what_cannot_be_compared_ends_with_2_and_leaves_nothing(
    arguments: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", "stream.parquet", "--out", "out", *arguments]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.startswith("asmg: ")
    assert shown.count("\n") == 1
    assert not (here / "out").exists()


def test_the_error_for_an_unknown_method_lists_those_that_there_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["backtest", "stream.parquet", "--methods", "magic"])
    there = capsys.readouterr().err.partition("there are: ")[2]
    assert {"iu", "asmg", "asmg-averaged", "row-statistics"} <= set(there.split(", "))


@pytest.mark.parametrize("seeds", ["0", "-1", "1,1", "1,-2", "a", ","])
def test_seeds_that_are_none_are_refused(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["backtest", "stream.parquet", f"--seeds={seeds}"])
    assert ended.value.code == 2
    assert "--seeds" in capsys.readouterr().err


def test_a_recording_that_is_not_there_costs_no_earlier_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "out").mkdir()
    (here / "out" / "report.json").write_text("{}")
    assert main(["backtest", "nowhere.parquet", "--out", "out", "--new-run"]) == 2
    assert "nowhere.parquet: there is no such file" in capsys.readouterr().err
    assert (here / "out" / "report.json").exists()

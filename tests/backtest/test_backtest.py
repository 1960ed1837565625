"""Backtest: the numbers of `asmg replay`, whatever is killed whenever, and one clear answer to what cannot be."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from time import monotonic, sleep
from typing import Any

import pytest
from replay_helpers import FLAGS, LEARNING, PERIODS, ROWS, SETTINGS, asmg, clean, command, stream, write

from stream_app.backtest.driver import backtest, build
from stream_app.backtest.forget import forget
from stream_app.backtest.html import write_html
from stream_app.backtest.job import At, finished, run_seed
from stream_app.backtest.jobs import JobFailed
from stream_app.backtest.study import Study
from stream_app.errors import IncompatibleState, SettingsError, StoreCorrupted, StoreLocked
from stream_app.events.periods import EqualCount
from stream_app.replay import replay
from stream_app.replay.recording import digest_of
from stream_app.store.journal import Journal

LAST = 3


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "stream.parquet", stream())


def study(recording: Path, out: Path, seeds: tuple[int, ...] = (0, 3), **learning: Any) -> Study:
    return Study(recording, replace(SETTINGS, learning=replace(LEARNING, **learning)), seeds, out, LAST)


def job_command(what: Study) -> list[str]:
    """What the command line makes of these settings."""
    return command("backtest", what.recording, *FLAGS, "--out", what.out)


@pytest.fixture(scope="module")
def whole(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, dict[str, Any]]:
    """A backtest that nothing interrupted; tests only look at it."""
    what = study(recording, tmp_path_factory.mktemp("whole"))
    return what, backtest(what, job_command(what), at_once=2)


def without_seconds(report: dict[str, Any]) -> dict[str, Any]:
    """What must be equal between two backtests."""
    runs = [
        {"seed": run["seed"], "periods": [{**period, "seconds": None} for period in run["periods"]]}
        for run in report["runs"]
    ]
    found = {
        method: {**found, "seconds_per_period": None, "times_iu": None} for method, found in report["summary"].items()
    }
    return {**report, "runs": runs, "summary": found}


def without_costs(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**period, "seconds": None} for run in runs for period in run["periods"]]


# The numbers.


def test_the_numbers_are_those_of_asmg_replay_to_the_last_bit(
    whole: tuple[Study, dict[str, Any]], recording: Path, tmp_path: Path
) -> None:
    _, report = whole
    list(replay(recording, SETTINGS, tmp_path / "0"))
    done = asmg("replay", recording, *FLAGS, "--seed", 3, "--out", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for run in report["runs"]:
        replayed = json.loads((tmp_path / str(run["seed"]) / "report.json").read_text())["periods"]
        assert [period["scores"] for period in run["periods"]] == [period["candidates"] for period in replayed]
        assert [period["samples"] for period in run["periods"]] == [period["samples"] for period in replayed]


def test_the_summary_is_the_mean_over_seeds_of_each_seeds_last_periods(whole: tuple[Study, dict[str, Any]]) -> None:
    _, report = whole
    for method, found in report["summary"].items():
        values = [[period["scores"][method]["auc"] for period in run["periods"][-LAST:]] for run in report["runs"]]
        assert found["metrics"]["auc"] == fmean(fmean(row) for row in values)
    iu, other = report["summary"]["iu"], report["summary"]["row-statistics"]
    assert iu["gain"] is None
    assert other["gain"]["auc"]["mean"] == pytest.approx(other["metrics"]["auc"] - iu["metrics"]["auc"])
    assert other["gain"]["auc"]["low"] < other["gain"]["auc"]["mean"] < other["gain"]["auc"]["high"]


def test_the_report_has_the_promised_shape(whole: tuple[Study, dict[str, Any]]) -> None:
    what, report = whole
    assert json.loads((what.out / "report.json").read_text()) == report
    assert report["format"] == 1
    assert report["recording"]["name"] == "stream.parquet"
    assert report["recording"]["rows"] == len(stream())
    assert report["methods"] == ["iu", "row-statistics", "auto"]
    assert report["seeds"] == [run["seed"] for run in report["runs"]] == [0, 3]
    assert "seed" not in report["settings"]["learning"]
    assert "2 seeds" in report["interval"]
    assert report["summary"]["iu"]["times_iu"] == 1.0
    assert 1.0 < report["summary"]["row-statistics"]["times_iu"] <= report["summary"]["auto"]["times_iu"]


def test_the_calibration_sums_are_those_behind_the_calibration_ratio(whole: tuple[Study, dict[str, Any]]) -> None:
    for period in whole[1]["runs"][0]["periods"][2:]:
        for method, bins in period["calibration"].items():
            count, predicted, positives = (sum(column) for column in zip(*bins, strict=True))
            assert count == period["samples"]
            assert period["scores"][method]["calibration"] == pytest.approx(predicted / positives)


def test_what_auto_chose_is_told_and_scored(whole: tuple[Study, dict[str, Any]]) -> None:
    collected, scored = whole[1]["runs"][0]["periods"][:2], whole[1]["runs"][0]["periods"][2:]
    assert [period["chosen"] for period in collected] == [None, None]
    assert scored[0]["chosen"] == "iu"
    assert all(period["scores"]["auto"] == period["scores"][period["chosen"]] for period in scored)


def test_new_and_seen_ids_are_counted_period_by_period(whole: tuple[Study, dict[str, Any]]) -> None:
    rows, known = stream(), (set[int](), set[int]())
    for number, period in enumerate(whole[1]["runs"][0]["periods"]):
        part = slice(number * ROWS, (number + 1) * ROWS)
        for name, column, before in zip(("users", "items"), (rows.users, rows.items), known, strict=True):
            ids = set(column[part].tolist())
            assert (period[f"{name}_new"], period[f"{name}_seen"]) == (len(ids - before), len(ids & before))
            before |= ids


def test_the_page_is_made_of_the_report_alone(whole: tuple[Study, dict[str, Any]], tmp_path: Path) -> None:
    what, _ = whole
    write_html(tmp_path / "report.html", json.loads((what.out / "report.json").read_text()))
    assert (tmp_path / "report.html").read_bytes() == (what.out / "report.html").read_bytes()


def test_the_table_holds_the_numbers_of_the_report(whole: tuple[Study, dict[str, Any]]) -> None:
    what, report = whole
    with (what.out / "periods.csv").open() as file:
        table = {(int(row["seed"]), int(row["period"]), row["method"]): row for row in csv.DictReader(file)}
    expected = {
        (run["seed"], period["period"], method): score["log_loss"]
        for run in report["runs"]
        for period in run["periods"]
        for method, score in period["scores"].items()
    }
    assert {key: float(row["log_loss"]) for key, row in table.items()} == expected
    assert len(expected) == 2 * (PERIODS - 2) * 3


# Killed and resumed.


@pytest.mark.parametrize("save_every", [0.0, 1e9])
@pytest.mark.parametrize("moment", ["pretraining", "period 2", "period 4", "storing"])
def test_a_job_that_is_stopped_anywhere_goes_on_to_the_same_run(
    moment: str, save_every: float, whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what = replace(whole[0], out=tmp_path)
    journal_of(what)

    def stop(at: At) -> None:
        if moment in (at.doing, f"period {at.periods}"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seed(what, 3, stop, save_every)
    assert finished(what, 3) is None
    run_seed(what, 3)
    run = finished(what, 3)
    assert run is not None
    assert without_costs([run]) == without_costs(whole[1]["runs"][1:])
    assert not (what.directory(3) / "store").exists()


def journal_of(what: Study) -> None:
    """The journal of a study, before any job."""
    with closing(Journal.open(what.journal, what.fixed(digest_of(what.recording, what.settings.records)))) as journal:
        build(journal, what)


def test_a_finished_seed_is_not_done_again_and_more_seeds_join(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what, report = whole
    said: list[str] = []
    assert backtest(what, ["/no/such/program"], 1, say=said.append) == report
    assert said == ["finished before: seed 0, 3"]
    fewer = backtest(replace(what, seeds=(3,)), ["/no/such/program"], 1)
    assert fewer["runs"] == report["runs"][1:]
    assert "one seed only" in fewer["interval"]
    backtest(what, [], 1)  # puts the report of both back


def test_another_end_of_the_stream_may_be_looked_at_without_running_anything(
    whole: tuple[Study, dict[str, Any]],
) -> None:
    what, report = whole
    found = backtest(replace(what, last=2), ["/no/such/program"], 1)
    assert found["summary"]["iu"]["metrics"]["auc"] != report["summary"]["iu"]["metrics"]["auc"]
    assert found["runs"] == report["runs"]
    backtest(what, [], 1)


def started(what: Study, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own, one job at a time."""
    line = [*job_command(what), "--seeds", ",".join(map(str, what.seeds)), "--last", str(LAST), "--jobs", "1", *more]
    # Started by a shell in the background, this process ignores SIGINT, and its children would too.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, env=clean({}), text=True, cwd=what.out, preexec_fn=heard, **pipes)


def job_of(process: subprocess.Popen[str], what: Study, seed: int, lines: int) -> int:
    """The process id of the job that runs, once its log has that many lines."""
    log = what.directory(seed) / "periods.jsonl"
    while process.poll() is None:
        sleep(0.005)
        if log.exists() and log.read_bytes().count(b"\n") >= lines:
            return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[-1])
    raise AssertionError(process.communicate())


def gone(process: int) -> bool:
    """Whether a process that is no child of ours has ended; waits for it."""
    deadline = monotonic() + 10
    while monotonic() < deadline:
        if not Path(f"/proc/{process}/stat").exists():
            return True
        sleep(0.01)
    return False


def test_kill_9_of_a_job_then_of_the_command_then_resumed_equals_not_interrupted(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what = replace(whole[0], out=tmp_path)
    first = started(what)
    os.kill(job_of(first, what, 0, 3), signal.SIGKILL)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 3
    assert "asmg: seed 0: its process was killed by SIGKILL" in said
    assert "the same command goes on" in said

    second = started(what)
    job = job_of(second, what, 3, 2)
    second.kill()
    second.communicate(timeout=60)
    assert gone(job)
    assert finished(what, 0) is not None
    assert not (tmp_path / "report.json").exists()

    assert without_seconds(backtest(what, job_command(what), 1)) == without_seconds(whole[1])


def test_ctrl_c_ends_with_130_and_leaves_no_process(whole: tuple[Study, dict[str, Any]], tmp_path: Path) -> None:
    what = replace(whole[0], out=tmp_path)
    process = started(what)
    job = job_of(process, what, 0, 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "asmg: interrupted; what is done is kept, the same command goes on\n"
    assert gone(job)


def test_an_error_of_a_job_ends_the_command_with_its_words_and_code(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what = replace(whole[0], out=tmp_path, seeds=(3,))
    what.directory(3).mkdir(parents=True)
    (what.directory(3) / "periods.jsonl").write_text("no JSON\n")
    with pytest.raises(JobFailed, match=r"seed 3: .*periods\.jsonl") as failed:
        backtest(what, job_command(what), 1)
    assert failed.value.exit_code == 3
    assert not (tmp_path / "report.json").exists()


# Refused.


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"learning": replace(LEARNING, negatives=1)}, "learning.negatives"),
        ({"learning": replace(LEARNING, methods=LEARNING.methods[:1])}, "learning.methods"),
        ({"periods": EqualCount(count=ROWS, lateness=5.0)}, "periods.lateness"),
    ],
)
def test_another_setting_on_an_existing_directory_is_refused_by_name(
    change: dict[str, Any], key: str, whole: tuple[Study, dict[str, Any]]
) -> None:
    what, report = whole
    other = replace(what, settings=replace(what.settings, **change))
    with pytest.raises(IncompatibleState, match=key):
        backtest(other, [], 1)
    with pytest.raises(IncompatibleState, match=key):  # a job that reads a settings file which was changed meanwhile
        run_seed(replace(other, seeds=(7,)), 7)
    assert json.loads((what.out / "report.json").read_text()) == report


def test_another_recording_on_an_existing_directory_is_refused(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    rows = stream()
    other = write(tmp_path / "stream.parquet", rows, item_id=rows.items + 1)
    with pytest.raises(IncompatibleState, match=r"recording\.sha256"):
        backtest(replace(whole[0], recording=other), [], 1)


def test_a_second_process_on_the_same_directory_is_refused(whole: tuple[Study, dict[str, Any]]) -> None:
    what, report = whole
    digest = digest_of(what.recording, what.settings.records)
    with closing(Journal.open(what.journal, what.fixed(digest))):
        with pytest.raises(StoreLocked):
            backtest(what, [], 1)
        with pytest.raises(StoreLocked):
            forget(what.out)
    assert json.loads((what.out / "report.json").read_text()) == report


def test_a_recording_with_no_period_left_to_score_is_refused_before_any_job(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"learning\.pretrain: .* 6 periods.* fills 6"):
        backtest(study(recording, tmp_path, pretrain=PERIODS), ["/no/such/program"], 1)


def test_a_run_that_was_changed_is_not_believed(whole: tuple[Study, dict[str, Any]], tmp_path: Path) -> None:
    what = replace(whole[0], out=tmp_path)
    what.directory(0).mkdir(parents=True)
    (what.directory(0) / "run.json").write_text('{"seed": 0, "periods": [{"period": 1}]}')
    with pytest.raises(StoreCorrupted, match=r"run\.json"):
        finished(what, 0)


def test_a_new_run_forgets_all_of_it_and_nothing_else(whole: tuple[Study, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole[0].out, out)
    mine = out / "seeds" / "0" / "notes.txt"
    mine.write_text("mine")
    with pytest.raises(IncompatibleState, match=r"notes\.txt"):
        forget(out)
    assert (out / "report.json").exists()
    mine.unlink()
    (out / "notes.txt").write_text("mine")
    forget(out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]

"""Backtest: the numbers of `asmg replay`, whatever is killed whenever, and one clear answer to what cannot be."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from time import monotonic, sleep
from typing import Any

import numpy as np
import pytest
from replay_helpers import FLAGS, LEARNING, PERIODS, ROWS, SETTINGS, clean, command, stream, write
from sklearn.metrics import log_loss

from models.ranking import RankingSettings
from stream_app.backtest.driver import backtest, build
from stream_app.backtest.forget import forget
from stream_app.backtest.html import write_html
from stream_app.backtest.job import PRETRAINING, At, finished, run_seed
from stream_app.backtest.jobs import JobFailed, run_jobs
from stream_app.backtest.report import report_of
from stream_app.backtest.study import Study
from stream_app.backtest.truth import floor_of
from stream_app.cli.main import main
from stream_app.errors import BadInput, IncompatibleState, SettingsError, StopTheLine, StoreCorrupted, StoreLocked
from stream_app.events.periods import EqualCount
from stream_app.live.alone import alone
from stream_app.replay.recording import digest_of
from stream_app.replay.results import METRICS
from stream_app.store.database import Database
from stream_app.store.journal import Journal
from stream_app.store.journal_view import JournalView
from stream_app.store.states import Store

LAST, RANKING = 3, RankingSettings(k=5)
TRUTH = {"likely": np.linspace(0.3, 0.7, len(stream()))}
"""A column of true probabilities, which the learner never sees."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "stream.parquet", stream(), **TRUTH)


def study(recording: Path, out: Path, seeds: tuple[int, ...] = (0, 3), **learning: Any) -> Study:
    return Study(
        recording, replace(SETTINGS, learning=replace(LEARNING, **learning)), seeds, out, LAST, RANKING, "likely"
    )


def job_command(what: Study) -> list[str]:
    """What the command line makes of these settings."""
    return command("backtest", what.recording, *FLAGS, "--ranking", 5, "--out", what.out)


@pytest.fixture(scope="module")
def whole(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, dict[str, Any]]:
    """A backtest that nothing interrupted; tests only look at it."""
    what = study(recording, tmp_path_factory.mktemp("whole"))
    return what, backtest(what, job_command(what), at_once=2)


def without_seconds(report: dict[str, Any]) -> bytes:
    """What must be equal, byte for byte, between two backtests."""
    runs = [
        {"seed": run["seed"], "periods": [{**period, "seconds": None} for period in run["periods"]]}
        for run in report["runs"]
    ]
    found = {
        method: {**found, "seconds_per_period": None, "times_iu": None} for method, found in report["summary"].items()
    }
    return json.dumps({**report, "runs": runs, "summary": found}).encode()


def without_costs(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**period, "seconds": None} for run in runs for period in run["periods"]]


# The numbers.


def test_the_numbers_are_those_of_asmg_replay_to_the_last_bit(
    whole: tuple[Study, dict[str, Any]], recording: Path, tmp_path: Path
) -> None:
    _, report = whole
    for run in report["runs"]:
        seed, out = str(run["seed"]), str(tmp_path / str(run["seed"]))
        assert main(["replay", str(recording), *FLAGS, "--seed", seed, "--out", out]) == 0
        replayed = json.loads((tmp_path / str(run["seed"]) / "report.json").read_text())["periods"]
        assert [_of_replay(period["scores"]) for period in run["periods"]] == [one["candidates"] for one in replayed]
        assert [period["samples"] for period in run["periods"]] == [period["samples"] for period in replayed]


def _of_replay(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Without recall and NDCG, which only a backtest has."""
    return {m: {name: value for name, value in score.items() if name in METRICS} for m, score in scores.items()}


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


def test_the_calibration_sums_are_those_behind_the_calibration_ratio(whole: tuple[Study, dict[str, Any]]) -> None:
    for period in whole[1]["runs"][0]["periods"][2:]:
        for method, bins in period["calibration"].items():
            count, predicted, positives = (sum(column) for column in zip(*bins, strict=True))
            assert count == period["samples"]
            assert period["scores"][method]["calibration"] == pytest.approx(predicted / positives)


def test_a_method_costs_the_base_model_and_its_own_stages_and_auto_costs_what_its_candidates_do(
    whole: tuple[Study, dict[str, Any]],
) -> None:
    report = whole[1]
    periods = [period["seconds"] for run in report["runs"] for period in run["periods"][-LAST:]]
    own = [sum(seconds[f"{stage} row-statistics"] for stage in ("generator", "generation")) for seconds in periods]
    plain = [sum(seconds[f"{stage} iu"] for stage in ("generator", "generation")) for seconds in periods]
    base = [seconds["training"] for seconds in periods]
    costs = {method: found["seconds_per_period"] for method, found in report["summary"].items()}
    assert costs["iu"] == pytest.approx(fmean(base) + fmean(plain))
    assert costs["row-statistics"] == pytest.approx(fmean(base) + fmean(own))
    assert costs["auto"] == pytest.approx(fmean(base) + fmean(plain) + fmean(own))


def test_what_auto_chose_is_told_and_scored(whole: tuple[Study, dict[str, Any]]) -> None:
    collected, scored = whole[1]["runs"][0]["periods"][:2], whole[1]["runs"][0]["periods"][2:]
    assert [period["chosen"] for period in collected] == [None, None]
    assert scored[0]["chosen"] == "iu"
    assert all(period["scores"]["auto"] == period["scores"][period["chosen"]] for period in scored)


def test_recall_and_ndcg_are_there_when_asked_for_and_their_sampling_is_stated(
    whole: tuple[Study, dict[str, Any]],
) -> None:
    report = whole[1]
    assert report["settings"]["ranking"] == {"k": 5, "candidates": 99, "positives": 1000}
    for period in report["runs"][0]["periods"][2:]:
        for method in report["methods"]:
            assert 0 <= period["scores"][method]["ndcg"] <= period["scores"][method]["recall"] <= 1
    assert report["summary"]["row-statistics"]["gain"]["recall"]["mean"] is not None


def test_regret_is_the_log_loss_above_that_of_the_true_probabilities(whole: tuple[Study, dict[str, Any]]) -> None:
    report, rows = whole[1], stream()
    for number, floor in report["truth"]["log_loss"]:
        part = slice((number - 1) * ROWS, number * ROWS)
        assert floor == pytest.approx(log_loss(rows.labels[part], TRUTH["likely"][part]))
    scored = [run["periods"][2:] for run in report["runs"]]
    for method, regret in report["truth"]["regret"].items():
        losses = [fmean(period["scores"][method]["log_loss"] for period in pair) for pair in zip(*scored, strict=True)]
        floors = [floor for _, floor in report["truth"]["log_loss"]]
        assert regret == [[n + 3, loss - floor] for n, (loss, floor) in enumerate(zip(losses, floors, strict=True))]


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


@pytest.mark.parametrize(("passes", "periods", "done_again"), [(1, 1, [2, 3, 4]), (4, 2, [])])
def test_passes_of_pretraining_are_not_done_again(
    passes: int, periods: int, done_again: list[int], whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what = replace(whole[0], out=tmp_path)
    journal_of(what)

    def stop(at: At) -> None:
        if (at.passes, at.periods) == (passes, periods):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_seed(what, 3, stop)
    again: list[At] = []
    run_seed(what, 3, again.append)
    assert [at.passes for at in again if at.doing == PRETRAINING and at.passes] == done_again


def test_killed_the_moment_a_state_is_kept_its_result_is_there(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = replace(whole[0], out=tmp_path)
    journal_of(what)
    keep = Store.commit

    def killed(*arguments: Any) -> None:
        keep(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        run_seed(what, 3, save_every=0.0)
    monkeypatch.undo()
    run_seed(what, 3)
    run = finished(what, 3)
    assert run is not None
    assert without_costs([run]) == without_costs(whole[1]["runs"][1:])


def test_a_job_waits_for_the_one_before_it_and_then_refuses(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = replace(whole[0], out=tmp_path)
    journal_of(what)
    monkeypatch.setattr("stream_app.live.alone.PATIENCE", 0.2)
    with alone(what.directory(3), "job"), pytest.raises(StoreLocked):
        run_seed(what, 3)
    assert finished(what, 3) is None


def journal_of(what: Study) -> None:
    """The journal of a study, before any job."""
    with closing(Journal.open(what.journal, what.fixed(digest_of(what.recording, what.settings.records)))) as journal:
        build(journal, what)


def test_killed_between_its_run_and_the_end_a_seed_leaves_no_store(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(whole[0].out, tmp_path / "out")
    what = replace(whole[0], out=tmp_path / "out")
    Store.open(what.directory(3) / "store", {}, keep=1).close()
    backtest(what, ["/no/such/program"], 1)
    assert not (what.directory(3) / "store").exists()


def test_finished_seeds_are_not_done_again_whatever_is_asked_about_them(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what, report = whole
    said: list[str] = []
    shutil.copytree(what.out, tmp_path / "out")
    fewer = replace(what, out=tmp_path / "out", seeds=(3,), last=2, truth=None)
    found = backtest(fewer, ["/no/such/program"], 1, say=said.append)
    assert said == ["finished before: seed 3"]
    assert found["runs"] == report["runs"][1:]
    assert "one seed only" in found["interval"]
    assert found["summary"]["iu"]["metrics"]["auc"] != report["summary"]["iu"]["metrics"]["auc"]
    with pytest.raises(FileNotFoundError):
        backtest(replace(fewer, seeds=(3, 4)), ["/no/such/program"], 1)


def jobs_of(parent: int) -> list[int]:
    """The process ids of its children; a thread may end while one looks."""
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_text().split())
    return found


def gone(process: int) -> bool:
    """Whether a process that is no child of ours has ended; waits for it."""
    deadline = monotonic() + 10
    while Path(f"/proc/{process}/stat").exists() and monotonic() < deadline:
        sleep(0.01)
    return not Path(f"/proc/{process}/stat").exists()


def lines(what: Study, seed: int) -> int:
    """Of the log of a job."""
    log = what.directory(seed) / "periods.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_kill_9_of_a_job_and_then_of_the_command_resumed_equals_not_interrupted(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what = replace(whole[0], out=tmp_path, seeds=(3,))
    before = set(jobs_of(os.getpid()))

    def kill(done: int, steps: int, doing: str) -> None:
        if PRETRAINING in doing:  # most of the work is still to come, however slowly this is heard
            os.kill((set(jobs_of(os.getpid())) - before).pop(), signal.SIGKILL)

    with pytest.raises(
        JobFailed, match=r"seed 3: its process was killed by SIGKILL.* the same command goes on"
    ) as failed:
        backtest(what, job_command(what), 1, kill)
    assert failed.value.exit_code == 3
    assert lines(what, 3) >= 1
    assert finished(what, 3) is None

    command_line = [*job_command(what), "--seeds", "3,", "--last", str(LAST)]
    process = subprocess.Popen(command_line, env=clean({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (jobs := jobs_of(process.pid)):
        assert process.poll() is None
        sleep(0.005)
    process.kill()
    process.wait()
    assert gone(*jobs)
    assert finished(what, 3) is None

    found = backtest(what, job_command(what), 1)
    floor = dict(whole[1]["truth"]["log_loss"])
    rows, digest = whole[1]["recording"]["rows"], whole[1]["recording"]["sha256"]
    expected = json.loads(json.dumps(report_of(what, whole[1]["runs"][1:], rows, digest, floor)))
    assert without_seconds(found) == without_seconds(expected)


def test_ctrl_c_ends_with_130_leaves_no_process_and_keeps_what_is_done(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = replace(whole[0], out=tmp_path)
    before, jobs, told_apart = set(jobs_of(os.getpid())), list[int](), list[int]()

    def interrupt() -> None:
        while lines(what, 0) < 1:
            sleep(0.005)
        jobs.extend(set(jobs_of(os.getpid())) - before)
        told_apart.extend(job for job in jobs if os.getsid(job) != os.getsid(0))  # Ctrl-C of a terminal passes them by
        os.kill(os.getpid(), signal.SIGINT)

    # Started by a shell in the background, this process would ignore it.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        assert main([*job_command(what)[3:], "--jobs", "1"]) == 130
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert capsys.readouterr().err == "asmg: interrupted; what is done is kept, the same command goes on\n"
    assert len(jobs) == 1
    assert told_apart
    assert gone(jobs[0])
    assert lines(what, 0) >= 1
    assert not (tmp_path / "report.json").exists()


def program(text: str) -> list[str]:
    """A job that runs this instead."""
    return [sys.executable, "-c", f"import os, signal, sys, time\n{text}"]


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        (
            "print('noise', file=sys.stderr); print('asmg: no room', file=sys.stderr); sys.exit(3)",
            "seed 5: no room;",
            3,
        ),
        ("print('asmg: setting x', file=sys.stderr); sys.exit(2)", "seed 5: setting x;", 2),
        ("sys.exit(1)", "seed 5: its process ended with exit code 1;", 1),
        ("os.kill(os.getpid(), signal.SIGTERM)", "seed 5: its process was killed by SIGTERM;", 3),
        ("sys.stdout.write('{\"pas'); sys.stdout.flush(); os.kill(os.getpid(), 9)", "killed by SIGKILL", 3),
    ],
)
def test_a_job_that_fails_ends_the_command_with_its_words_and_code(text: str, said: str, code: int) -> None:
    with pytest.raises(JobFailed, match=said) as failed:
        run_jobs(program(text), [5], 1, {}, lambda seed, at: None)
    assert failed.value.exit_code == code
    assert "what is done is kept, the same command goes on" in str(failed.value)


def test_the_other_jobs_are_ended_when_one_fails() -> None:
    before = set(jobs_of(os.getpid()))
    text = "time.sleep(60 if sys.argv[-1] == '1' else 0.2); sys.exit(3)"
    with pytest.raises(JobFailed, match="seed 2"):
        run_jobs(program(text), [1, 2], 2, {}, lambda seed, at: None)
    assert set(jobs_of(os.getpid())) == before


def test_a_job_that_ends_well_without_a_run_is_no_finished_seed(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    what = replace(whole[0], out=tmp_path, seeds=(3,))
    with pytest.raises(StopTheLine, match="seed 3: its job ended well and left no run"):
        backtest(what, program("pass"), 1)
    assert not (tmp_path / "report.json").exists()


def test_a_module_that_prints_does_not_speak_for_its_job() -> None:
    text = """
from stream_app.backtest.job import At
from stream_app.backtest.jobs import telling
tell = telling()
print("noise", flush=True)
os.write(1, b"noise")
tell(At(1, 2, "here"))
"""
    heard = list[At | None]()
    run_jobs(program(text), [1], 1, {}, lambda seed, at: heard.append(at))
    assert heard == [At(1, 2, "here"), None]


def test_the_libraries_of_a_job_are_told_its_threads() -> None:
    with pytest.raises(JobFailed) as failed:
        run_jobs(program("sys.exit(int(os.environ['OMP_NUM_THREADS']))"), [1], 1, {"OMP_NUM_THREADS": "7"}, print)
    assert failed.value.exit_code == 7


def test_no_more_jobs_than_asked_for_run_at_once() -> None:
    text = """print('{"passes": 0, "periods": 0, "doing": "here"}', flush=True); time.sleep(0.1)"""
    running, most = set[int](), 0

    def told(seed: int, at: At | None) -> None:
        nonlocal most
        (running.add if at else running.remove)(seed)
        most = max(most, len(running))

    run_jobs(program(text), range(5), 2, {}, told)
    assert (most, running) == (2, set())


# Refused.


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"learning": replace(LEARNING, negatives=1)}, "learning.negatives"),
        ({"learning": replace(LEARNING, methods=LEARNING.methods[:1])}, "learning.methods"),
        ({"periods": EqualCount(count=ROWS, lateness=5.0)}, "periods.lateness"),
        ({}, "ranking"),
    ],
)
def test_another_setting_on_an_existing_directory_is_refused_by_name(
    change: dict[str, Any], key: str, whole: tuple[Study, dict[str, Any]]
) -> None:
    what, report = whole
    ranking = what.ranking if change else None
    other = replace(what, settings=replace(what.settings, **change), ranking=ranking, truth=None)
    with pytest.raises(IncompatibleState, match=key):
        backtest(other, [], 1)
    with pytest.raises(IncompatibleState, match=key):  # a job that reads a settings file which was changed meanwhile
        run_seed(replace(other, seeds=(7,)), 7)
    assert json.loads((what.out / "report.json").read_text()) == report


def test_another_recording_on_an_existing_directory_is_refused(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path
) -> None:
    rows = stream()
    other = write(tmp_path / "stream.parquet", rows, item_id=rows.items + 1, **TRUTH)
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


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"truth": "user_id"}, "holds int64, not floating-point numbers"),
        ({"truth": "nothing"}, "has no column 'nothing'; its columns are .*likely"),
        ({"settings": replace(SETTINGS, learning=replace(LEARNING, negatives=1))}, "negatives have no true prob"),
    ],
)
def test_a_truth_that_says_no_floor_is_refused_before_anything(
    change: dict[str, Any], problem: str, recording: Path, tmp_path: Path
) -> None:
    with pytest.raises((BadInput, SettingsError), match=problem):
        backtest(replace(study(recording, tmp_path / "out"), **change), [], 1)
    assert not (tmp_path / "out").exists()


def test_a_truth_with_a_number_that_is_no_probability_is_refused_before_any_job(tmp_path: Path) -> None:
    wrong = {"likely": np.where(np.arange(len(stream())) == ROWS, 1.5, TRUTH["likely"])}
    what = study(write(tmp_path / "wrong.parquet", stream(), **wrong), tmp_path / "out")
    with pytest.raises(BadInput, match=r"'likely': a true probability must be between 0 and 1, is 1\.5"):
        backtest(what, ["/no/such/program"], 1)


def test_a_recording_out_of_order_has_no_floor(tmp_path: Path) -> None:
    rows = stream()
    late = write(tmp_path / "late.parquet", rows.select(np.roll(np.arange(len(rows)), ROWS)), **TRUTH)
    what = study(late, tmp_path)
    journal_of(what)
    with closing(JournalView(Database.open(what.journal, read_only=True))) as journal:
        refused = pytest.raises(BadInput, match="rows came late")
        with refused:
            floor_of(what, journal)


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


@pytest.mark.parametrize("made", [[], ["recording.sha256"]], ids=["worker", "replay"])
def test_a_new_run_refuses_the_journal_of_another_command(made: list[str], tmp_path: Path) -> None:
    Journal.open(tmp_path / "journal", dict.fromkeys(made)).close()
    (tmp_path / "report.json").write_text("theirs")
    before = {file.name: file.read_bytes() for file in (tmp_path / "journal").iterdir()}
    with pytest.raises(IncompatibleState, match="that another command of asmg-stream made"):
        forget(tmp_path)
    assert {file.name: file.read_bytes() for file in (tmp_path / "journal").iterdir()} == before
    assert (tmp_path / "report.json").exists()


def test_a_new_run_leaves_a_report_that_lies_where_no_backtest_was(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("mine")
    forget(tmp_path)
    assert (tmp_path / "report.json").read_text() == "mine"


def test_a_new_run_that_is_killed_half_way_leaves_no_seed_to_another_study(
    whole: tuple[Study, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole[0].out, tmp_path / "out")
    remove = shutil.rmtree

    def killed(path: Path) -> None:
        remove(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        forget(tmp_path / "out")
    assert not (tmp_path / "out" / "seeds").exists()
    assert (tmp_path / "out" / "journal").exists()

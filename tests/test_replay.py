"""Replay: one answer, whatever happens in between, and nothing of the recording lost from sight."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import msgpack
import numpy as np
import pyarrow
import pytest
from replay_helpers import FLAGS, LEARNING, PERIODS, ROWS, SETTINGS, asmg, clean, command, published, stream, write
from sklearn.metrics import log_loss

from models.interactions import Interactions
from models.update_methods.iu import Iu
from stream_app.errors import BadInput, IncompatibleState, SettingsError, StoreCorrupted
from stream_app.events.periods import EqualCount, EventTime
from stream_app.events.record import RecordSettings
from stream_app.events.watermark import Late
from stream_app.replay import PeriodResult, replay
from stream_app.replay.recording import equal_periods
from stream_app.replay.report import Rest, summary, totals
from stream_app.serving.computing import NumpyServing
from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import DirectorySink
from stream_app.versions.assembler import assembled

METHODS = ("iu", "row-statistics", "auto")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recording") / "stream.parquet", stream())


@pytest.fixture(scope="module")
def whole(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PeriodResult]]:
    """A replay that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    return out, list(replay(recording, SETTINGS, out))


def report(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found


def test_the_loop_of_the_readme_yields_every_period_in_order(whole: tuple[Path, list[PeriodResult]]) -> None:
    _, results = whole
    assert [result.period for result in results] == list(range(1, PERIODS + 1))
    assert [result.interactions for result in results] == [ROWS] * PERIODS
    assert [result.version for result in results] == [None, 1, 2, 3, 4, 5]
    assert [result.serving is None for result in results] == [True, True, *[False] * 4]
    assert [tuple(result.candidates) for result in results] == [(), (), *[METHODS] * 4]


def test_every_choice_of_auto_is_the_lowest_smoothed_log_loss_and_is_explained(
    whole: tuple[Path, list[PeriodResult]],
) -> None:
    """By hand, from the reported scores: half-life 2, the first value as it is, iu before anything was scored."""
    smoothed: dict[str, float] = {}
    chosen = "iu"
    for period in report(whole[0])["periods"][1:]:
        candidates = period["candidates"]
        if candidates:
            assert (period["serving"], candidates["auto"]) == (chosen, candidates[chosen])
        for name in METHODS[:2] if candidates else ():
            loss = candidates[name]["log_loss"]
            smoothed[name] = smoothed[name] * 0.5**0.5 + loss * (1 - 0.5**0.5) if name in smoothed else loss
        chosen = min(METHODS[:2], key=lambda name: smoothed.get(name, 0.0))
        decisions = period["decisions"]
        assert (decisions["serve"], decisions["chosen"]) == ("auto", chosen)
        assert [decisions[f"smoothed_log_loss.{name}"] for name in smoothed] == pytest.approx(list(smoothed.values()))
        assert chosen in decisions["reason"]


def test_the_digests_are_those_of_the_published_bytes(whole: tuple[Path, list[PeriodResult]]) -> None:
    out, results = whole
    told = {f"{result.version:06d}": result.digest for result in results if result.version}
    assert {folder: content for folder, (content, _) in published(out).items()} == told


def test_the_same_recording_gives_the_same_bytes(
    whole: tuple[Path, list[PeriodResult]], recording: Path, tmp_path: Path
) -> None:
    list(replay(recording, SETTINGS, tmp_path))
    assert published(tmp_path) == published(whole[0])


def test_interactions_in_batches_of_any_size_give_the_bytes_of_the_file(
    whole: tuple[Path, list[PeriodResult]], tmp_path: Path
) -> None:
    rows = stream()
    batches = [rows.select(slice(at, at + 77)) for at in range(0, len(rows), 77)]
    list(replay(batches, SETTINGS, tmp_path))
    assert published(tmp_path) == published(whole[0])


def test_the_command_line_gives_the_bytes_and_the_report_of_the_import(
    whole: tuple[Path, list[PeriodResult]], recording: Path, tmp_path: Path
) -> None:
    done = asmg("replay", recording, *FLAGS, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "900 interactions; 5 in no full period" in done.stdout
    assert published(tmp_path / "run") == published(whole[0])
    assert report(tmp_path / "run")["summary"] == report(whole[0])["summary"]


def killed_after(lines: int, recording: Path, out: Path) -> int:
    """Start a replay and kill it once its log has that many lines; returns how the process ended."""
    process = subprocess.Popen(
        command("replay", recording, *FLAGS, "--out", out), env=clean({}), stdout=subprocess.DEVNULL, cwd=out.parent
    )
    log = out / "periods.jsonl"
    while process.poll() is None:
        if log.exists() and log.read_bytes().count(b"\n") >= lines:
            process.kill()
            break
    return process.wait(60)


@pytest.mark.parametrize("lines", [2, 7])
def test_killed_at_any_moment_and_resumed_equals_not_interrupted(
    lines: int, whole: tuple[Path, list[PeriodResult]], recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert killed_after(lines, recording, out) == -signal.SIGKILL
    results = list(replay(recording, SETTINGS, out))
    assert published(out) == published(whole[0])
    assert [without_seconds(result) for result in results] == [without_seconds(result) for result in whole[1]]
    assert report(out)["summary"] == report(whole[0])["summary"]


def without_seconds(result: PeriodResult) -> PeriodResult:
    return replace(result, seconds={})


def test_stopped_within_pretraining_goes_on_within_it(
    whole: tuple[Path, list[PeriodResult]], recording: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def stop(stage: str) -> None:
        seen.append(stage)
        if "start 2/2, pass 1/2" in stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(replay(recording, SETTINGS, tmp_path, stop))
    again: list[str] = []
    list(replay(recording, SETTINGS, tmp_path, again.append))
    assert [stage for stage in again if "pass" in stage] == ["pretraining: start 2/2, pass 2/2"]
    assert published(tmp_path) == published(whole[0])


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    whole: tuple[Path, list[PeriodResult]], recording: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command("replay", recording, *FLAGS, "--out", "run"),
        env=clean({}),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Started by a shell in the background, this process ignores SIGINT, and its children would too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert "pretraining 1/2" in process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        said = process.stderr.read()
    assert process.wait(60) == 130
    assert "the same command goes on" in said
    assert asmg("replay", recording, *FLAGS, "--out", "run", cwd=tmp_path).returncode == 0
    assert published(tmp_path / "run") == published(whole[0])


def test_a_finished_replay_is_not_done_again(whole: tuple[Path, list[PeriodResult]], recording: Path) -> None:
    stages: list[str] = []
    assert list(replay(recording, SETTINGS, whole[0], stages.append)) == whole[1]
    assert stages == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"learning": replace(LEARNING, seed=1)}, "learning.seed"),
        ({"learning": replace(LEARNING, histories=True)}, "learning.histories"),
        ({"learning": replace(LEARNING, methods=LEARNING.methods[:1])}, "learning.methods was"),
        ({"periods": EqualCount(count=ROWS, lateness=5.0)}, "periods.lateness"),
    ],
)
def test_another_setting_on_an_existing_directory_is_refused_by_name(
    change: dict[str, Any], key: str, whole: tuple[Path, list[PeriodResult]], recording: Path
) -> None:
    before = published(whole[0])
    with pytest.raises(IncompatibleState, match=key):
        list(replay(recording, replace(SETTINGS, **change), whole[0]))
    assert published(whole[0]) == before


def test_another_recording_on_an_existing_directory_is_refused(
    whole: tuple[Path, list[PeriodResult]], tmp_path: Path
) -> None:
    rows = stream()
    other = write(tmp_path / "other.parquet", rows, item_id=rows.items + 1)
    with pytest.raises(IncompatibleState, match="recording"):
        list(replay(other, SETTINGS, whole[0]))


def test_settings_of_the_machine_may_change(whole: tuple[Path, list[PeriodResult]], recording: Path) -> None:
    settings = replace(SETTINGS, learning=replace(LEARNING, device="auto"))
    assert list(replay(recording, settings, whole[0])) == whole[1]


def test_a_device_that_is_not_there_is_a_wrong_setting(recording: Path, tmp_path: Path) -> None:
    import torch

    settings = replace(SETTINGS, learning=replace(LEARNING, device="cuda"))
    if torch.cuda.is_available():
        assert len(list(replay(recording, settings, tmp_path))) == PERIODS
        return
    with pytest.raises(SettingsError, match=r"learning\.device"):
        list(replay(recording, settings, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_bad_rows_are_written_down_with_row_and_reason_and_the_rest_is_learned(
    whole: tuple[Path, list[PeriodResult]], tmp_path: Path
) -> None:
    rows = stream()
    at = [0, 400]
    longer = Interactions(
        *(np.insert(column, at, column[at]) for column in (rows.users, rows.items, rows.times, rows.labels))
    )
    labels = longer.labels.copy()
    labels[[0, 401]] = [np.nan, 2.0]
    users = pyarrow.array(longer.users)
    recording = write(tmp_path / "stream.parquet", longer, label=labels, user_id=users)
    list(replay(recording, SETTINGS, tmp_path / "run"))
    letters = [json.loads(line) for line in (tmp_path / "run" / "dead-letters.jsonl").read_text().splitlines()]
    assert [letter["row"] for letter in letters] == [0, 401]
    assert all(letter["reason"] and letter["field"] == "label" for letter in letters)
    assert report(tmp_path / "run")["totals"]["bad_rows"] == 2
    assert published(tmp_path / "run") == published(whole[0])


def test_without_bad_rows_there_is_no_file_of_them(whole: tuple[Path, list[PeriodResult]]) -> None:
    assert not (whole[0] / "dead-letters.jsonl").exists()


def test_the_report_has_the_promised_shape(whole: tuple[Path, list[PeriodResult]]) -> None:
    found = report(whole[0])
    assert set(found) == {"settings", "machine", "periods", "summary", "totals"}
    assert found["settings"]["learning"]["seed"] == 0
    assert set(found["periods"][-1]) == {
        *("period", "interactions", "samples", "serving", "candidates", "version", "digest", "seconds"),
        "decisions",
    }
    assert set(found["periods"][-1]["candidates"]["iu"]) == {
        *("auc", "log_loss", "auc_seen_items", "log_loss_seen_items"),
        *("gauc", "normalized_entropy", "ece", "calibration"),
    }
    assert {"scoring", "training", "storing"} <= set(found["periods"][-1]["seconds"])
    assert found["totals"] == {
        "periods": PERIODS,
        "interactions": PERIODS * ROWS,
        "samples": PERIODS * ROWS,
        "versions": PERIODS - 1,
        "late_rows": 0,
        "dead_lettered_rows": 0,
        "dropped_rows": 0,
        "bad_rows": 0,
        "open_rows": 5,
        "seconds": found["totals"]["seconds"],
    }


def test_the_picture_is_a_png(whole: tuple[Path, list[PeriodResult]]) -> None:
    assert (whole[0] / "metrics.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def result(number: int, auc: float | None) -> PeriodResult:
    candidates = {"iu": {"auc": auc, "log_loss": 0.5, "auc_seen_items": auc, "log_loss_seen_items": 0.25}}
    return PeriodResult(number, 10, 20, "iu", candidates, number, "d", {"training": 0.5, "storing": 0.25})


def test_the_summary_is_the_mean_of_the_last_seven_periods() -> None:
    aucs = [0.1, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    found = summary(
        [PeriodResult(1, 10, 20, None, {}, None, None, {}), *(result(n, auc) for n, auc in enumerate(aucs, 2))]
    )
    assert found["iu"]["auc"] == pytest.approx((0.9 + 0.8 + 0.7 + 0.6 + 0.5 + 0.4 + 0.3) / 7)
    assert found["iu"]["log_loss"] == 0.5
    assert found["iu"]["periods"] == 7


def test_a_metric_that_is_not_defined_is_left_out_of_the_mean() -> None:
    found = summary([result(1, 0.5), result(2, None), result(3, 0.7)])
    assert found["iu"]["auc"] == pytest.approx(fmean([0.5, 0.7]))
    assert found["iu"]["periods"] == 3
    assert summary([result(1, None)])["iu"]["auc"] is None


def test_results_of_an_earlier_release_that_knew_fewer_metrics_are_still_summed() -> None:
    old = result(1, 0.5)
    new = replace(old, candidates={"iu": dict(old.candidates["iu"]) | {"gauc": 0.75}})
    assert summary([old])["iu"]["gauc"] is None
    assert summary([old, new])["iu"] | {"periods": 0} == {
        **dict(old.candidates["iu"]),
        **{"gauc": 0.75, "normalized_entropy": None, "ece": None, "calibration": None, "periods": 0},
    }


def test_totals_are_sums() -> None:
    found = totals([result(1, 0.5), result(2, 0.5)], Rest(3, 1, 2, bad_rows=4, open_rows=5))
    assert found == {
        **{"periods": 2, "interactions": 20, "samples": 40, "versions": 2},
        **{"late_rows": 3, "dead_lettered_rows": 1, "dropped_rows": 2, "bad_rows": 4, "open_rows": 5, "seconds": 1.5},
    }


def test_a_half_written_last_result_is_cut_off(recording: Path, tmp_path: Path) -> None:
    first = list(replay(recording, SETTINGS, tmp_path))
    log = tmp_path / "periods.jsonl"
    log.write_bytes(log.read_bytes() + b'{"period": 7, "inter')
    assert list(replay(recording, SETTINGS, tmp_path)) == first
    assert log.read_bytes().endswith(b"\n")


def test_a_lost_result_is_reported_not_made_up(recording: Path, tmp_path: Path) -> None:
    list(replay(recording, SETTINGS, tmp_path))
    log = tmp_path / "periods.jsonl"
    log.write_text("".join(line for line in log.open() if '"period": 3,' not in line))
    with pytest.raises(StoreCorrupted, match="period 3"):
        list(replay(recording, SETTINGS, tmp_path))


def test_periods_of_event_time_hold_the_rows_of_their_windows(tmp_path: Path) -> None:
    rows = stream()
    length = 6 * 86_400
    windows = rows.times // (length * 1_000_000)
    expected = [int((windows == window).sum()) for window in np.unique(windows)]
    settings = replace(SETTINGS, periods=EventTime(length=float(length)))
    assert [result.interactions for result in replay([rows], settings, tmp_path)] == expected


def test_equal_periods_count_valid_rows_only(tmp_path: Path) -> None:
    rows = stream()
    labels = rows.labels.copy()
    labels[:6] = np.nan
    recording = write(tmp_path / "stream.parquet", rows, label=labels)
    found = equal_periods(recording, SETTINGS.records, PERIODS, lateness=60.0)
    assert found == EqualCount(count=math.floor((PERIODS * ROWS - 1) / PERIODS), lateness=60.0)


def test_a_recording_may_be_named_by_a_string(recording: Path, tmp_path: Path) -> None:
    results = list(replay(str(recording), SETTINGS, tmp_path))
    assert [result.period for result in results] == list(range(1, PERIODS + 1))


def test_more_periods_than_rows_are_refused(recording: Path) -> None:
    with pytest.raises(BadInput, match="cannot fill 10000 periods"):
        equal_periods(recording, SETTINGS.records, 10_000, lateness=60.0)


def test_late_rows_are_counted_and_learned_in_a_later_period(tmp_path: Path) -> None:
    rows = stream()
    order = np.arange(len(rows))
    order = np.concatenate([order[1:400], order[:1], order[400:]])  # the first row comes after 400 others

    def batches() -> Iterator[Interactions]:
        yield rows.select(order)

    results = list(replay(batches(), SETTINGS, tmp_path))
    found = report(tmp_path)["totals"]
    assert found["late_rows"] == 1
    assert found["interactions"] + found["open_rows"] == len(rows)
    assert [result.interactions for result in results] == [ROWS] * PERIODS


@pytest.mark.parametrize("late", ["dead-letter", "drop"])
def test_late_rows_in_no_period_are_counted_and_the_versions_are_those_of_the_other_rows(
    late: Late, whole: tuple[Path, list[PeriodResult]], tmp_path: Path
) -> None:
    rows = stream()
    settings = replace(SETTINGS, periods=replace(SETTINGS.periods, late=late))
    at = [300, 600]  # where the first two rows come once more, much later
    late_ones = Interactions(
        *(np.insert(column, at, column[:2]) for column in (rows.users, rows.items, rows.times, rows.labels))
    )
    recording = write(tmp_path / "stream.parquet", late_ones)
    run = replay(recording, settings, tmp_path / "run")
    next(run)
    run.close()  # interrupted: what goes on must still know of the late rows that came before
    list(replay(recording, settings, tmp_path / "run"))
    found = report(tmp_path / "run")["totals"]
    left_out = (2, 0) if late == "dead-letter" else (0, 2)
    assert (found["late_rows"], found["dead_lettered_rows"], found["dropped_rows"]) == (2, *left_out)
    assert (found["interactions"], found["open_rows"], found["bad_rows"]) == (PERIODS * ROWS, 5, 0)
    assert digests_of_rows(tmp_path / "run") == digests_of_rows(whole[0])
    letters = tmp_path / "run" / "dead-letters.jsonl"
    written = [json.loads(line) for line in letters.read_text().splitlines()] if letters.exists() else []
    assert [(one["row"], one["reason"], one["field"]) for one in written] == (
        [(300, "late", "timestamp"), (601, "late", "timestamp")] if late == "dead-letter" else []
    )
    for number, one in enumerate(written):
        assert json.loads(one["value"])["user_id"] == int(rows.users[number])


def digests_of_rows(out: Path) -> list[str]:
    """The digest of the rows of each version, by msgpack alone."""
    contents = (
        msgpack.unpackb(path.read_bytes())["content"] for path in sorted(out.glob("versions/*/manifest.msgpack"))
    )
    return [msgpack.unpackb(content)["rows"]["sha256"] for content in contents]


def by_hand(rows: Interactions, tags: list[list[str]]) -> list[str]:
    """The digest of each period's rows, from the recording alone."""
    columns = (rows.times, rows.users, rows.items, rows.labels)
    order = sorted(zip(*(column.tolist() for column in columns), map(sorted, map(set, tags)), strict=True))
    digests = []
    for first in range(0, PERIODS * ROWS, ROWS):
        times, users, items, labels, names = zip(*order[first : first + ROWS], strict=True)
        data = struct.pack(f"<{3 * ROWS}q{ROWS}f", *users, *items, *times, *labels)
        for row in names:
            data += struct.pack("<I", len(row))
            data += b"".join(struct.pack("<I", len(name.encode())) + name.encode() for name in row)
        digests.append(hashlib.sha256(data).hexdigest())
    return digests


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]], list[PeriodResult]]:
    """A replay of a stream whose items have categories, which they change now and then; where, which, and results."""
    rows, out = stream(), tmp_path_factory.mktemp("tagged")
    tags = [
        [f"genre-{item % 7}", "é", f"{user % 3}"][: user % 4] for user, item in zip(rows.users, rows.items, strict=True)
    ]
    recording = write(out / "stream.parquet", rows, tags=tags)
    learning = replace(LEARNING, methods=(Iu(),))
    settings = replace(SETTINGS, learning=learning, records=RecordSettings(categories="tags"))
    return out / "run", tags, list(replay(recording, settings, out / "run"))


def test_categories_are_in_the_digest_of_the_rows_and_in_the_manifest(
    whole: tuple[Path, list[PeriodResult]], tagged: tuple[Path, list[list[str]], list[PeriodResult]]
) -> None:
    out, tags, _ = tagged
    contents = [
        msgpack.unpackb(msgpack.unpackb((folder / "manifest.msgpack").read_bytes())["content"])
        for folder in sorted((out / "versions").iterdir())
    ]
    assert [content["rows"]["sha256"] for content in contents] == by_hand(stream(), tags)[1:]
    assert {(content["format"], content["learning"]["categories"]) for content in contents} == {(2, True)}
    (plain, *_) = (whole[0] / "versions").iterdir()
    content = msgpack.unpackb(msgpack.unpackb((plain / "manifest.msgpack").read_bytes())["content"])
    assert (content["format"], "categories" in content["learning"]) == (1, False)


def test_a_subscriber_scores_the_next_period_by_ids_alone_as_the_replay_reports(
    tagged: tuple[Path, list[list[str]], list[PeriodResult]],
) -> None:
    """The version before knows which categories an item had then, and nothing of items born since."""
    out, _, results = tagged
    rows = stream().canonical()
    versions = list(assembled(DirectorySink(out / "versions").read(), "default", NumpyServing()))
    assert len(versions) == len(results) - 1
    for version, scored in zip(versions, results[2:], strict=False):
        at = range((scored.period - 1) * ROWS, scored.period * ROWS)
        histories = [
            rows.items[(rows.users == rows.users[n]) & (rows.times < rows.times[n]) & (rows.labels == 1)][::-1][:30]
            for n in at
        ]
        users, items, labels = (column[at.start : at.stop] for column in (rows.users, rows.items, rows.labels))
        probabilities = ServingModel(version).score_pairs(users, items, histories)
        assert log_loss(labels, probabilities) == pytest.approx(scored.candidates["iu"]["log_loss"], abs=1e-6)

"""`asmg generate`: a file that every command reads as it is, the same for the same seed, there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from replay_helpers import FLAGS, asmg

from models.interactions import Interactions
from stream_app.cli.main import main
from stream_app.errors import BadInput
from stream_app.events.record import RecordSettings
from stream_app.formats import recording
from stream_app.formats.recording_writer import write
from stream_app.synthetic import SyntheticSettings, generate

SIZES = ("--interactions", "900", "--users", "50", "--items", "40", "--days", "3")
KINDS = ("parquet", "csv", "jsonl")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def truth_in(path: Path) -> list[float]:
    if path.suffix == ".parquet":
        return parquet.read_table(path)["probability"].to_pylist()
    if path.suffix == ".csv":
        return csv.read_csv(path)["probability"].to_pylist()
    return [json.loads(line)["probability"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_holds_the_rows_and_their_truth(kind: str, here: Path) -> None:
    out = here / f"stream.{kind}"
    assert main(["generate", out.name, *SIZES, "--drift", "sudden,recurring", "--categories", "--seed", "3"]) == 0
    settings = SyntheticSettings(900, 50, 40, 3.0, ("sudden", "recurring"), categories=True, seed=3)
    parts = list(generate(settings))
    read = list(recording.read(out, RecordSettings(categories="categories")))
    assert [part.bad for part in read] == [()] * len(read)
    found = Interactions.concatenate([part.interactions for part in read])
    assert found.digest() == Interactions.concatenate([part.interactions for part in parts]).digest()
    assert truth_in(out) == np.concatenate([part.probability for part in parts]).tolist()


def test_same_seed_same_bytes_in_another_process(here: Path) -> None:
    for kind in KINDS:
        assert main(["generate", f"one.{kind}", *SIZES, "--categories"]) == 0
        assert main(["generate", f"two.{kind}", *SIZES, "--categories"]) == 0
        assert (here / f"one.{kind}").read_bytes() == (here / f"two.{kind}").read_bytes()
    made = asmg("generate", "elsewhere.csv", *SIZES, "--categories", cwd=here, PYTHONHASHSEED="1")
    assert (made.returncode, made.stderr) == (0, "")
    assert (here / "elsewhere.csv").read_bytes() == (here / "one.csv").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_recording_is_read_back_batch_by_batch(kind: str, here: Path) -> None:
    categories = [["a", "b c"], [], ["d"], ["a", "é"]]
    columns = {"user_id": [1, 2, 3, 4], "item_id": [7, 8, 9, 7], "timestamp": [10, 11, 11, 12], "label": [1, 0, 1, 1]}
    whole = pa.RecordBatch.from_pydict({**columns, "categories": pa.array(categories, pa.list_(pa.string()))})
    write(here / f"rows.{kind}", iter([whole.slice(0, 1), whole.slice(1, 3)]))
    (part,) = recording.read(here / f"rows.{kind}", RecordSettings(categories="categories"))
    rows = part.interactions
    assert part.bad == ()
    assert [rows.users.tolist(), rows.items.tolist(), rows.labels.tolist()] == [
        columns[name] for name in ("user_id", "item_id", "label")
    ]
    assert (rows.times // 1_000_000).tolist() == columns["timestamp"]
    assert rows.categories is not None
    assert list(rows.categories) == [tuple(row) for row in categories]


def test_replay_takes_it_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "stream.parquet", *SIZES]) == 0
    assert main(["replay", "stream.parquet", *FLAGS, "--methods", "iu"]) == 0
    said = capsys.readouterr().out
    assert "stream.parquet: 900 interactions over 3 days, gradual drift of strength 0.5, label noise 0.05" in said
    assert "6 periods, 5 versions, 900 interactions; 0 in no full period, 0 late, 0 bad rows" in said


def test_an_implicit_stream_has_no_column_of_probabilities(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "stream.parquet", *SIZES, "--implicit", "--drift", "none"]) == 0
    assert parquet.read_schema("stream.parquet").names == ["user_id", "item_id", "timestamp", "label"]
    said = capsys.readouterr().out
    assert said.startswith("stream.parquet: 900 interactions over 3 days, no drift, positives only\n")
    assert "--negatives 1" in said
    assert "--truth" not in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--users", "0"], "--users: must be at least 1 and at most 10000000, is 0"),
        (["--strength", "1.5"], "--strength: must be between 0 (no change) and 1 (nothing in common), is 1.5"),
        (["--strength", "nan"], "--strength: must be between 0"),
        (["--label-noise", "0.5"], "--label-noise: must be at least 0 and below 0.5"),
        (["--days", "inf"], "--days: must be above 0 and at most 36525"),
        (["--drift", "sudden,often"], "--drift: 'often' is none of sudden, gradual, recurring"),
        (["--drift", ""], "--drift: '' is none of sudden, gradual, recurring"),
        (["--seed", "-1"], "--seed: must be at least 0, is -1"),
        (["--implicit", "--label-noise", "0.1"], "--label-noise: an implicit stream has no labels to turn round"),
        (["--drift", "sudden,sudden"], "--drift: must name each kind once, is sudden,sudden"),
        (["--drift", "none", "--strength", "1"], "--strength: there is no drift with --drift none"),
    ],
)
def test_what_cannot_be_is_refused_by_flag(
    flags: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "stream.parquet", *flags]) == 2
    error = capsys.readouterr().err
    assert f"asmg: setting {said}" in error
    assert error.count("\n") == 1
    assert list(here.iterdir()) == []


def test_a_name_without_a_format_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "stream.txt"]) == 2
    assert "let it end in one of .parquet, .csv, .jsonl" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_nothing_of_anybodys_is_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "stream.csv").write_text("mine")
    assert main(["generate", "stream.csv", *SIZES]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (here / "stream.csv").read_text() == "mine"


def test_a_directory_that_is_not_there_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "nowhere/stream.parquet", *SIZES]) == 2
    assert "nowhere/stream.parquet: cannot be written: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_broken_off_it_leaves_nothing(kind: str, trouble: BaseException, here: Path) -> None:
    def broken_off() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"user_id": pa.array([1, 2])})
        raise trouble

    with pytest.raises((KeyboardInterrupt, BadInput)):
        write(here / f"stream.{kind}", broken_off())
    assert list(here.iterdir()) == []

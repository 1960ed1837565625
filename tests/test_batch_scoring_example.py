"""The example of a batch scorer: one version for all of it, parts that stay, files that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from simulators import chain, envelope

from examples.batch_scoring.batch_scoring import main
from stream_app.serving.model import ServingModel
from stream_app.sinks.directory import DirectorySink

CHAIN = chain(2)


def versions(path: Path, count: int) -> Path:
    sink = DirectorySink(path)
    sink.open()
    for version in CHAIN[:count]:
        sink.write(version, envelope())
    return path


def pairs(path: Path, **columns: list[object]) -> Path:
    table = pa.table(columns or {"user_id": [11, 7, 5, 999] * 5, "item_id": [3, 2, 9, 4, 777] * 4, "why": ["x"] * 20})
    parquet.write_table(table, path, row_group_size=8)
    return path


def run(folder: Path, *more: str) -> int:
    return main([str(folder / "pairs.parquet"), str(folder / "scored"), "--timeout", "10", *more])


def scored(folder: Path) -> pa.Table:
    return pa.concat_tables(
        parquet.read_table(part).replace_schema_metadata() for part in sorted((folder / "scored").glob("part-*"))
    )


def test_every_pair_gets_the_probability_of_the_newest_version(tmp_path: Path) -> None:
    source = str(versions(tmp_path / "versions", 2))
    given = parquet.read_table(pairs(tmp_path / "pairs.parquet"))
    assert run(tmp_path, "--directory", source) == 0
    table = scored(tmp_path)
    assert table.drop_columns("probability").equals(given.replace_schema_metadata())
    one_by_one = [
        ServingModel(CHAIN[1]).score(user, [item])[0]
        for user, item in zip(given["user_id"].to_pylist(), given["item_id"].to_pylist(), strict=True)
    ]
    np.testing.assert_allclose(table["probability"].to_numpy(), one_by_one, rtol=1e-6)


def test_parts_that_are_there_stay_and_what_is_missing_is_made(tmp_path: Path) -> None:
    source = str(versions(tmp_path / "versions", 1))
    pairs(tmp_path / "pairs.parquet")
    run(tmp_path, "--directory", source)
    parts = sorted((tmp_path / "scored").iterdir())
    assert len(parts) == 3
    whole, kept = scored(tmp_path), parts[0].stat().st_mtime_ns
    parts[1].unlink()
    (tmp_path / "scored" / f".{parts[1].name}").write_bytes(b"half-written")
    assert run(tmp_path, "--directory", source) == 0
    assert parts[0].stat().st_mtime_ns == kept
    assert scored(tmp_path).equals(whole)


def test_parts_of_another_version_are_not_mixed_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs(tmp_path / "pairs.parquet")
    run(tmp_path, "--directory", str(versions(tmp_path / "versions", 1)))
    before = scored(tmp_path)
    sorted((tmp_path / "scored").iterdir())[-1].unlink()
    assert run(tmp_path, "--directory", str(versions(tmp_path / "both", 2))) == 3
    assert CHAIN[1].digest[:12] in capsys.readouterr().err
    assert scored(tmp_path).num_rows == before.num_rows - 4


def test_parts_of_other_pairs_are_not_taken_for_these(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tomorrow's file has the name of today's."""
    source = str(versions(tmp_path / "versions", 1))
    pairs(tmp_path / "pairs.parquet")
    run(tmp_path, "--directory", source)
    before = scored(tmp_path)
    pairs(tmp_path / "pairs.parquet", user_id=[7] * 20, item_id=[3] * 20)
    assert run(tmp_path, "--directory", source) == 3
    assert "part-00000.parquet was made from pairs" in capsys.readouterr().err
    assert scored(tmp_path).equals(before)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"user_id": [1]}, "item_id"),
        ({"user_id": ["a"], "item_id": ["b"]}, "row group 0"),
        ({"user_id": [1, None], "item_id": [2, 3]}, "1 ids are missing"),
    ],
)
def test_a_file_that_cannot_be_scored_is_named(
    tmp_path: Path, columns: dict[str, list[object]], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path / "pairs.parquet", **columns)
    assert run(tmp_path, "--directory", str(versions(tmp_path / "versions", 1))) == 2
    said = capsys.readouterr().err
    assert "pairs.parquet" in said
    assert told in said


def test_without_a_version_it_says_so(tmp_path: Path) -> None:
    pairs(tmp_path / "pairs.parquet")
    assert main([str(tmp_path / "pairs.parquet"), str(tmp_path / "s"), "--cache", str(tmp_path), "--timeout", "1"]) == 4


def test_the_model_is_the_one_that_the_settings_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = DirectorySink(tmp_path / "versions", "shop")
    sink.open()
    sink.write(CHAIN[0], envelope(model="shop"))
    pairs(tmp_path / "pairs.parquet")
    monkeypatch.setenv("ASMG_MODEL", "shop")
    assert run(tmp_path, "--directory", str(tmp_path / "versions")) == 0
    assert scored(tmp_path).num_rows == 20


def test_wrong_pairs_are_told_without_waiting_for_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--cache", str(tmp_path / "nobody writes here")) == 2
    assert "pairs.parquet" in capsys.readouterr().err

"""A recording gives back the records that went into it, and says what is wrong with one that cannot."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.interactions import Interactions, category_column
from stream_app.errors import BadInput
from stream_app.events.record import RecordSettings
from stream_app.events.segment import END, IdleMark, PartitionSet, RunMark, Segment, SegmentsRecord
from stream_app.formats import recording, segments_writer
from stream_app.formats.segments_file import METADATA, About
from stream_app.formats.segments_reader import records
from stream_app.formats.segments_writer import SegmentsWriter

INTS = RecordSettings()
STRINGS = RecordSettings(user_ids="string", item_ids="string", categories="genre")
numbers = st.integers(-(2**63), 2**63 - 1)
times = st.integers(-(2**62), 2**62)


def columns(settings: RecordSettings, rows: list[Any]) -> Interactions:
    kind = object if settings.user_ids == "string" else np.int64
    users, items, at, labels, named = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    categories = category_column(named) if settings.categories else None
    ids = (np.array([str(one) for one in both] if kind is object else both, kind) for both in (users, items))
    return Interactions(*ids, np.array(at, np.int64), np.array(labels, np.float32), categories)


@st.composite
def segments(draw: st.DrawFn, settings: RecordSettings) -> Segment:
    first, length = draw(st.integers(0, 2**40)), draw(st.integers(1, 30))
    inside = st.integers(first, first + length - 1)
    offsets = sorted(draw(st.lists(inside, max_size=12)))  # rows of one message share its offset
    marks = sorted(draw(st.dictionaries(inside, times | st.just(END), max_size=3)).items())
    row = st.tuples(numbers, numbers, times, st.sampled_from([0, 1]), st.lists(st.text(max_size=3), max_size=2))
    rows = [draw(row) for _ in offsets]
    partition = draw(st.integers(0, 3))
    found = columns(settings, rows)
    return Segment(partition, first, first + length, np.array(offsets, np.int64), found, tuple(marks))


def streams(settings: RecordSettings) -> st.SearchStrategy[list[SegmentsRecord]]:
    others = (
        st.builds(PartitionSet, st.integers(1, 9), st.text(max_size=9)),
        st.builds(IdleMark, st.integers(0, 9), st.integers(0, 2**63 - 1)),
        st.builds(RunMark, st.text(min_size=1, max_size=9)),
    )
    return st.lists(st.one_of(segments(settings), *others), max_size=9)


def write(path: Path, stream: list[SegmentsRecord], settings: RecordSettings = INTS, **more: Any) -> Path:
    writer = SegmentsWriter(path, About.of("segments", "asmg-segments", settings))
    for record in stream:
        writer.put(record, **more)
    writer.close()
    return path


def small() -> list[SegmentsRecord]:
    rows = columns(INTS, [(1, 2, 3_000_001, 1, ()), (4, 5, 6, 0, ())])
    segment = Segment(1, 10, 20, np.array([10, 12]), rows, ((15, 7), (19, END)))
    return [PartitionSet(2, "id"), segment, IdleMark(0, 4)]


@pytest.mark.parametrize("settings", [INTS, STRINGS], ids=["ints", "strings"])
@pytest.mark.parametrize("batch", [1, 3, 65_536])
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_records_come_back_byte_for_byte_wherever_batches_are_cut(
    data: st.DataObject, batch: int, settings: RecordSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.formats.segments_reader._BATCH", batch)
    monkeypatch.setattr(segments_writer, "GROUP_ROWS", 2 * batch)
    stream = data.draw(streams(settings))
    path = write(tmp_path / "a.parquet", stream, settings)
    assert [record.encode() for record in records(path, settings)] == [record.encode() for record in stream]


def test_a_data_frame_selects_the_interactions_by_kind(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", small(), at_ms=1_700_000_000_123))
    rows = table.filter(pc.equal(table["kind"], "interaction")).to_pydict()
    assert rows["user_id"] == [1, 4]
    assert rows["offset"] == [10, 12]
    assert rows["partition"] == [1, 1]
    assert rows["timestamp"][0] == datetime(1970, 1, 1, 0, 0, 3, 1, UTC)
    assert rows["kafka_timestamp"][1] == datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)
    assert table["kind"].to_pylist() == ["partitions", "segment", *["interaction"] * 2, "watermark", "end", "idle"]
    assert json.loads(table.schema.metadata[METADATA])["format"] == 1


def test_as_a_recording_like_any_other_it_has_its_interactions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", small())
    assert recording.rows(path) == 2
    for batch in (1, 100):
        found = list(recording.read(path, INTS, batch))
        assert [offset for part in found for offset in part.offsets.tolist()] == [0, 1]
        assert [user for part in found for user in part.interactions.users.tolist()] == [1, 4]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (RecordSettings(user_ids="string"), "records.user_ids"),
        (RecordSettings(item_ids="string"), "records.item_ids"),
        (RecordSettings(categories="genre"), "records.categories"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: RecordSettings, named: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", small())
    with pytest.raises(BadInput, match=named):
        list(records(path, settings))
    with pytest.raises(ValueError, match=named):
        write(tmp_path / "b.parquet", small(), settings)


def test_a_later_format_is_refused_by_its_number(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", small()))
    said = json.loads(table.schema.metadata[METADATA]) | {"format": 2}
    pq.write_table(table.replace_schema_metadata({METADATA: json.dumps(said)}), tmp_path / "b.parquet")
    with pytest.raises(BadInput, match=r"format 2.*reads 1"):
        recording.rows(tmp_path / "b.parquet")


def changed(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(
        table.schema.get_field_index(name), table.schema.field(name), pa.array(values, table[name].type)
    )


@pytest.mark.parametrize(
    ("name", "row", "value"),
    [
        ("kind", 1, "idle"),
        ("kind", 2, "other"),
        ("kind", 2, None),
        ("kind", 0, "interaction"),
        ("partition", 2, 0),
        ("partition", 1, None),
        ("offset", 2, 9),
        ("offset", 4, None),
        ("timestamp", 4, None),
        ("timestamp", 2, None),
        ("user_id", 3, None),
        ("label", 3, None),
        ("count", 1, 3),
        ("count", 0, None),
        ("next_offset", 1, 11),
    ],
)
def test_a_damaged_recording_is_refused(name: str, row: int, value: Any, tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", small()))
    pq.write_table(changed(table, name, row, value), tmp_path / "b.parquet")
    with pytest.raises(BadInput, match="damaged"):
        list(records(tmp_path / "b.parquet", INTS))


def test_rows_that_are_missing_are_noticed(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", small()))
    for row in range(2, 4):
        pq.write_table(pa.concat_tables([table[:row], table[row + 1 :]]), tmp_path / "b.parquet")
        with pytest.raises(BadInput, match="2 interactions has 1"):
            list(records(tmp_path / "b.parquet", INTS))


def test_a_file_that_says_so_but_has_other_columns_is_refused(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "a.parquet", small()))
    for missing in itertools.chain(["kind"], ["next_offset"]):
        pq.write_table(table.drop_columns([missing]), tmp_path / "b.parquet")
        with pytest.raises(BadInput, match="columns"):
            list(records(tmp_path / "b.parquet", INTS))

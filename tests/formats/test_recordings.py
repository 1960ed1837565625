"""Recordings: three formats, one answer; what is wrong is named, by file and column or by row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from stream_app.errors import BadInput
from stream_app.events.record import RecordSettings
from stream_app.formats import recording
from stream_app.formats.decoded import Decoded

SETTINGS = RecordSettings()
SUFFIXES = (".parquet", ".csv", ".jsonl")


def write(path: Path, columns: dict[str, list[object] | pa.Array]) -> Path:
    """A recording in the format of the suffix, by pyarrow or the standard library."""
    table = pa.table(
        {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    )
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def whole(path: Path, settings: RecordSettings = SETTINGS, batch: int = 65_536) -> list[tuple[object, ...]]:
    """(row number, user, item, time, label) of every good row."""
    rows = []
    for decoded in recording.read(path, settings, batch):
        found = decoded.interactions
        columns = (decoded.offsets, found.users, found.items, found.times, found.labels)
        rows += list(zip(*(column.tolist() for column in columns), strict=True))
    return rows


def refused(path: Path, settings: RecordSettings = SETTINGS) -> list[tuple[int, str, str]]:
    return [(row.offset, row.reason, row.field) for part in recording.read(path, settings) for row in part.bad]


def good(rows: int) -> dict[str, list[object]]:
    return {
        "user_id": list(range(rows)),
        "item_id": [10 * row for row in range(rows)],
        "timestamp": [1_600_000_000 + row for row in range(rows)],
        "label": [float(row % 2) for row in range(rows)],
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_come_back_in_order_with_their_numbers_whatever_the_batch(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"r{suffix}", good(25))
    expected = [(row, row, 10 * row, (1_600_000_000 + row) * 1_000_000, float(row % 2)) for row in range(25)]
    for batch in (1, 7, 25, 100):
        assert whole(path, batch=batch) == expected
        assert max(len(part.offsets) for part in recording.read(path, SETTINGS, batch)) <= batch
    assert recording.rows(path) == 25
    assert refused(path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_columns_of_an_interaction_have_the_types_of_the_learner(tmp_path: Path, suffix: str) -> None:
    (decoded,) = recording.read(write(tmp_path / f"r{suffix}", good(3)), SETTINGS)
    found = decoded.interactions
    assert isinstance(decoded, Decoded)
    assert [c.dtype for c in (found.users, found.items, found.times, found.labels, decoded.offsets)] == [
        np.int64, np.int64, np.int64, np.float32, np.int64,
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_string_ids_and_other_names(tmp_path: Path, suffix: str) -> None:
    columns = {"who": ["ä", "b"], "what": ["x,y", 'z"'], "when": [5, 6], "other": [1, 2]}
    settings = RecordSettings(user="who", item="what", time="when", label="", user_ids="string", item_ids="string")
    path = write(tmp_path / f"r{suffix}", columns)
    assert whole(path, settings) == [(0, "ä", "x,y", 5_000_000, 1.0), (1, "b", 'z"', 6_000_000, 1.0)]
    (decoded,) = recording.read(path, settings)
    assert decoded.interactions.users.dtype == object


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_rating_becomes_a_label_by_its_threshold(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"r{suffix}", {**good(3), "stars": [7.9, 8.0, 10.0]})
    settings = RecordSettings(rating="stars", rating_threshold=8)
    assert [row[4] for row in whole(path, settings)] == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("unit", "given", "expected"),
    [
        ("s", [1_600_000_000.25, 0.5], [1_600_000_000_250_000, 500_000]),
        ("ms", [1_600_000_000_123, -1], [1_600_000_000_123_000, -1_000]),
        ("us", [1_600_000_000_123_456, 0], [1_600_000_000_123_456, 0]),
        ("ns", [1_600_000_000_123_456_789, -1], [1_600_000_000_123_456, -1]),
    ],
)
def test_times_in_every_unit(tmp_path: Path, suffix: str, unit: str, given: list[object], expected: list[int]) -> None:
    path = write(tmp_path / f"r{suffix}", {**good(2), "timestamp": given})
    assert [row[3] for row in whole(path, replace(SETTINGS, time_unit=unit))] == expected


def test_a_timestamp_column_says_its_own_unit(tmp_path: Path) -> None:
    for unit, factor in (("s", 1), ("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)):
        times = pa.array([1_600_000_000 * factor, None], pa.timestamp(unit, tz="UTC"))
        path = write(tmp_path / f"{unit}.parquet", {**good(2), "timestamp": times})
        assert whole(path) == [(0, 0, 0, 1_600_000_000_000_000, 0.0)]
        assert refused(path) == [(1, "missing-field", "timestamp")]


def test_narrow_unsigned_and_dictionary_columns_are_read(tmp_path: Path) -> None:
    columns = {
        "user_id": pa.array([1, None, 2**63], pa.uint64()),
        "item_id": pa.array(["a", "b", "a"]).dictionary_encode(),
        "timestamp": pa.array([1, 2, 3], pa.int8()),
        "label": pa.array([1, 0, 1], pa.uint8()),
    }
    path = write(tmp_path / "r.parquet", columns)
    settings = RecordSettings(item_ids="string")
    assert whole(path, settings) == [(0, 1, "a", 1_000_000, 1.0)]
    assert refused(path, settings) == [(1, "missing-field", "user_id"), (2, "out-of-range", "user_id")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_that_are_no_interactions_are_reported_by_number_and_the_rest_is_read(tmp_path: Path, suffix: str) -> None:
    columns = {**good(6), "label": [1.0, 0.5, 0.0, None, 1.0, 2.0], "item_id": [1, 2, None, 4, 5, 6]}
    path = write(tmp_path / f"r{suffix}", columns)
    found = refused(path)
    assert [(number, field) for number, _, field in found] == [(1, "label"), (2, "item_id"), (3, "label"), (5, "label")]
    assert [row[0] for row in whole(path)] == [0, 4]
    assert recording.rows(path) == 6
    if suffix != ".jsonl":  # in JSON a null is a value of a wrong type
        assert [reason for _, reason, _ in found] == ["out-of-range", "missing-field", "missing-field", "out-of-range"]


def test_nan_is_no_label_no_rating_and_no_time(tmp_path: Path) -> None:
    nan = float("nan")
    labels = write(tmp_path / "labels.parquet", {**good(2), "label": [nan, 1.0]})
    assert refused(labels) == [(0, "out-of-range", "label")]
    times = write(tmp_path / "times.parquet", {**good(2), "timestamp": [nan, 1e300]})
    assert refused(times) == [(0, "out-of-range", "timestamp"), (1, "out-of-range", "timestamp")]
    stars = write(tmp_path / "stars.parquet", {**good(2), "stars": [nan, float("inf")]})
    assert [row[:2] for row in refused(stars, RecordSettings(rating="stars"))] == [
        (0, "out-of-range"),
        (1, "out-of-range"),
    ]


def test_ids_that_are_empty_or_too_long_are_bad_rows(tmp_path: Path) -> None:
    users = ["", "x" * 1024, "x" * 1025, "ä" * 512, "ä" * 513]
    path = write(tmp_path / "r.parquet", {**good(5), "user_id": users})
    settings = RecordSettings(user_ids="string")
    assert [row[0] for row in whole(path, settings)] == [1, 3]
    assert {row[1:] for row in refused(path, settings)} == {("out-of-range", "user_id")}


def test_wrong_values_in_a_csv_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        "user_id,item_id,timestamp,label\n1,1,10,1\n1_0,1,10,1\n\n2,x,10,1\n3,1,10\n4,1,2020-01-01,1\n5,1,10.5,0\n"
        "9223372036854775808,1,10,1\n6,1,1e300,1\n"
    )
    assert whole(path) == [(0, 1, 1, 10_000_000, 1.0), (5, 5, 1, 10_500_000, 0.0)]
    assert refused(path) == [
        (1, "wrong-type", "user_id"),
        (2, "wrong-type", "item_id"),
        (3, "undecodable", ""),
        (4, "wrong-type", "timestamp"),
        (6, "wrong-type", "user_id"),
        (7, "out-of-range", "timestamp"),
    ]
    (bad, *_) = next(recording.read(path, SETTINGS)).bad
    assert bad.value == b"1_0,1,10,1"
    assert recording.rows(path) == 8


def test_a_csv_with_a_byte_order_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes('\ufeffuser_id,item_id,timestamp,label\r\n"1",2,3,1\r\n'.encode())
    assert whole(path) == [(0, 1, 2, 3_000_000, 1.0)]


def test_lines_that_are_no_json_are_bad_rows_and_blank_ones_are_none(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    line = '{"user_id": 1, "item_id": 2, "timestamp": 3, "label": 1}'
    path.write_text(f"{line}\n\n{{\n{line}")
    assert [row[0] for row in whole(path)] == [0, 2]
    assert refused(path) == [(1, "undecodable", "")]
    assert recording.rows(path) == 3


def test_a_watermark_line_is_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"user_id": 1, "item_id": 2, "timestamp": 3, "label": 1}\n{"watermark": 9}\n{"watermark": "end"}\n'
    )
    (decoded,) = recording.read(path, SETTINGS)
    assert decoded.marks == ((1, 9_000_000), (2, 2**63 - 1))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, suffix: str) -> None:
    columns = good(3)
    columns["likes"] = columns.pop("label")
    path = write(tmp_path / f"r{suffix}", columns)
    with pytest.raises(
        BadInput, match=r"no column 'label'.* user_id, item_id, timestamp, likes.*records\.label"
    ) as error:
        whole(path)
    assert error.value.path == str(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_not_there_is_named(tmp_path: Path, suffix: str) -> None:
    for act in (whole, recording.rows):
        with pytest.raises(BadInput, match="no such file") as error:
            act(tmp_path / f"none{suffix}")
        assert error.value.path.endswith(f"none{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_is_no_recording(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r{suffix}"
    path.mkdir()
    for act in (whole, recording.rows):
        with pytest.raises(BadInput):
            act(path)


def test_an_unknown_suffix_lists_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\.parquet, \.csv, \.jsonl, \.ndjson"):
        recording.rows(tmp_path / "r.xlsx")


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("user_id", ["a", "b"], 'user_ids = "string"'),
        ("user_id", [0.5, 1.0], "holds double, not integers"),
        ("timestamp", ["2020-01-01", "2020-01-02"], "not numbers"),
        ("label", [True, False], "holds bool, not numbers"),
    ],
)
def test_a_column_of_a_wrong_type_is_named(tmp_path: Path, column: str, values: list[object], says: str) -> None:
    path = write(tmp_path / "r.parquet", {**good(2), column: values})
    with pytest.raises(BadInput, match=f"column '{column}'.*{says}"):
        whole(path)


def test_a_csv_column_that_holds_nothing_of_its_type_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", {**good(2), "timestamp": ["2020-01-01", "2020-01-02"]})
    with pytest.raises(BadInput, match="column 'timestamp' holds '2020-01-01'"):
        whole(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"\xff\xfe\x00", b'"'])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"r{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadInput) as error:
        whole(path)
    assert error.value.path == str(path)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", good(1000))
    data = path.read_bytes()
    for length in (len(data) - 1, len(data) // 2, 10):
        path.write_bytes(data[:length])
        with pytest.raises(BadInput):
            whole(path)


TAGGED = RecordSettings(categories="tags")


def categories_in(path: Path, settings: RecordSettings = TAGGED, batch: int = 65_536) -> list[tuple[int, object]]:
    """(row number, categories) of every good row."""
    found = []
    for part in recording.read(path, settings, batch):
        assert part.interactions.categories is not None
        found += list(zip(part.offsets.tolist(), part.interactions.categories.tolist(), strict=True))
    return found


def write_tagged(path: Path, tags: list[list[str] | None]) -> Path:
    """Lists of categories as each format has them."""
    column: list[object] = list(tags)
    if path.suffix == ".csv":
        column = ["|".join(row) if row else None for row in tags]
    return write(path, {**good(len(tags)), "tags": column})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lists_of_categories_come_in_whatever_the_batch(tmp_path: Path, suffix: str) -> None:
    path = write_tagged(tmp_path / f"r{suffix}", [["War", "Drama", "War"], None, ["é, x"], [], ["Drama"]])
    expected = [(0, ("Drama", "War")), (1, ()), (2, ("é, x",)), (3, ()), (4, ("Drama",))]
    for batch in (1, 2, 100):
        assert categories_in(path, batch=batch) == expected
    assert [row[:3] for row in whole(path, TAGGED)] == [(row, row, 10 * row) for row in range(5)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_text_is_one_category_and_in_a_csv_as_many_as_it_has_strokes_between(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"r{suffix}", {**good(3), "tags": ["War", None, "b|a"]})
    last = ("a", "b") if suffix == ".csv" else ("b|a",)
    assert categories_in(path) == [(0, ("War",)), (1, ()), (2, last)]


def test_every_arrow_type_of_text_is_read(tmp_path: Path) -> None:
    words = pa.array(["a", None, "b"])
    lists: list[list[str] | None] = [["b", "a"], None, []]
    for column in (words, words.cast(pa.large_string()), words.dictionary_encode()):
        path = write(tmp_path / "r.parquet", {**good(3), "tags": column})
        assert [names for _, names in categories_in(path)] == [("a",), (), ("b",)]
    for kind in (pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_(pa.large_string())):
        path = write(tmp_path / "r.parquet", {**good(3), "tags": pa.array(lists, kind)})
        assert [names for _, names in categories_in(path)] == [("a", "b"), (), ()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_categories_out_of_range_are_bad_rows(tmp_path: Path, suffix: str) -> None:
    tags: list[list[str] | None] = [["a"], ["a", ""], ["n"] * 65, ["ä" * 129], ["x" * 257], ["ä" * 128], ["m"] * 64]
    path = write_tagged(tmp_path / f"r{suffix}", tags)
    assert categories_in(path) == [(0, ("a",)), (5, ("ä" * 128,)), (6, ("m",))]
    assert refused(path, TAGGED) == [(row, "out-of-range", "tags") for row in (1, 2, 3, 4)]


def test_a_null_among_categories_is_a_missing_value_and_the_row_is_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", {**good(2), "tags": [["a", None], ["b"]]})
    assert refused(path, TAGGED) == [(0, "missing-field", "tags")]
    assert categories_in(path) == [(1, ("b",))]
    (bad,) = next(recording.read(path, TAGGED)).bad
    assert bad.value is not None
    assert json.loads(bad.value)["categories"] == ["a", None]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_missing_column_of_categories_is_named(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"r{suffix}", good(3))
    with pytest.raises(BadInput, match=r"no column 'tags'.*records\.categories.*if there are none"):
        whole(path, TAGGED)


@pytest.mark.parametrize("column", [[1, 2], [[1], [2]], [[["a"]], []]])
def test_a_column_of_other_things_than_categories_is_named(tmp_path: Path, column: list[object]) -> None:
    path = write(tmp_path / "r.parquet", {**good(2), "tags": column})
    with pytest.raises(BadInput, match=r"column 'tags' holds .*not strings or lists of them"):
        whole(path, TAGGED)


TEXT_TIMES = replace(SETTINGS, time_unit="iso8601")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_times_as_text_need_a_zone(tmp_path: Path, suffix: str) -> None:
    times = ["2023-01-31T12:00:00.000001Z", "2023-01-31T12:00:00", "2023-01-31T13:00:00+01:00"]
    path = write(tmp_path / f"r{suffix}", {**good(3), "timestamp": times})
    assert [(row[0], row[3]) for row in whole(path, TEXT_TIMES)] == [
        (0, 1_675_166_400_000_001),
        (2, 1_675_166_400_000_000),
    ]
    assert refused(path, TEXT_TIMES) == [(1, "wrong-type", "timestamp")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_where_and_positive_when_choose_rows_as_they_choose_messages(tmp_path: Path, suffix: str) -> None:
    kinds = ["view", "cart", "purchase", "view", None]
    users = [0, None, 2, None, 4]  # what is not meant is not judged either
    path = write(tmp_path / f"r{suffix}", {**good(5), "user_id": users, "type": kinds, "shop": [1, 1, 1, 1, 1]})
    chosen = replace(
        SETTINGS, label="", where={"type": ("view", "purchase"), "shop": (1,)}, positive_when={"type": ("purchase",)}
    )
    assert [(row[0], row[4]) for row in whole(path, chosen)] == [(0, 0.0), (2, 1.0)]
    assert [(row, field) for row, _, field in refused(path, chosen)] == [(3, "user_id")]
    assert sum(part.filtered for part in recording.read(path, chosen)) == 2


def test_a_dotted_name_is_a_column_or_lies_within_one(tmp_path: Path) -> None:
    plain = {name: pa.array(values) for name, values in good(2).items()}
    dotted = RecordSettings(user="payload.user.id")
    literal = write(tmp_path / "literal.parquet", {**plain, "payload.user.id": pa.array([5, 6])})
    assert [row[1] for row in whole(literal, dotted)] == [5, 6]
    assert [
        row[1] for row in whole(write(tmp_path / "l.csv", {**plain, "payload.user.id": pa.array([5, 6])}), dotted)
    ] == [5, 6]
    structs = pa.array([{"user": {"id": 5, "x": 1}}, {"user": None}])
    within = write(tmp_path / "within.parquet", {**plain, "payload": structs})
    assert [row[1] for row in whole(within, dotted)] == [5]
    assert refused(within, dotted) == [(1, "missing-field", "payload.user.id")]
    for wrong in ("payload.item.id", "payload.user.id.x", "user_id.x", "other.id"):
        with pytest.raises(BadInput, match="has no column"):
            whole(within, RecordSettings(user=wrong))
    lines = write(tmp_path / "l.jsonl", {**plain, "payload": structs.slice(0, 1).take([0, 0])})
    assert [row[1] for row in whole(lines, dotted)] == [5, 5]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_has_no_headers(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(BadInput, match="no headers"):
        whole(write(tmp_path / f"r{suffix}", good(1)), RecordSettings(user="header:user"))

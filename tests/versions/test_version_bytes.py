"""The bytes of a version: deterministic, a safetensors file by the letter, and the same after every way around."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from simulators import chain, envelope, tiny_version

from stream_app.errors import DigestMismatch, SchemaMismatch
from stream_app.serving.computing import NumpyServing
from stream_app.versions.assembler import assembled
from stream_app.versions.columns import ids_from_tensors, ids_to_tensors
from stream_app.versions.manifest import Content, Envelope
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import build, load
from stream_app.versions.tensors import CHUNK_BYTES, parts


def parsed_by_hand(data: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    """safetensors as its README describes it: u64 length, JSON header, data without holes or overlap."""
    length = int.from_bytes(data[:8], "little")
    assert data[8:9] == b"{"
    described = json.loads(data[8 : 8 + length])
    data = data[8 + length :]
    end, tensors = 0, {}
    for name, entry in sorted(described.items(), key=lambda pair: pair[1]["data_offsets"]):
        begin, end_here = entry["data_offsets"]
        assert begin == end, "a hole or an overlap"
        end = end_here
        tensors[name] = (entry["dtype"], entry["shape"], data[begin:end])
    assert end == len(data)
    return tensors


def test_all_chunks_joined_are_one_safetensors_file() -> None:
    version = tiny_version(users=("ä", "b", "long name"), items=(5, 6, -7))
    tensors = parsed_by_hand(b"".join(bytes(chunk) for _, chunk, _ in version.chunks()))
    names = {"F32": "<f4", "I64": "<i8", "U8": "|u1"}
    assert tensors.keys() == version.tensors.keys()
    for name, (dtype, shape, data) in tensors.items():
        expected = version.tensors[name]
        assert names[dtype] == expected.dtype.str
        assert shape == list(expected.shape)
        assert data == expected.tobytes()
    assert tensors["vocabulary.users.bytes"][2] == "äblong name".encode()
    assert np.frombuffer(tensors["vocabulary.users.offsets"][2], "<i8").tolist() == [0, 2, 3, 12]


def test_data_begins_at_eight_bytes_and_wide_types_come_first() -> None:
    version = tiny_version(users=("x",))
    _, first, _ = next(version.chunks())
    assert len(first) % 8 == 0
    sizes = [array.dtype.itemsize for array in version.tensors.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_every_tensor_starts_a_chunk_and_is_cut_at_whole_rows() -> None:
    rows = 60_001
    tables = {"parameters.user": np.arange(rows * 8, dtype=np.float32).reshape(rows, 8)}
    version = tiny_version(users=range(1, rows), replaced=tables)
    sizes = [len(chunk) for _, chunk, _ in version.chunks()]
    per_chunk = 900_000 // 32 * 32
    entry = next(t for t in version.content.tensors if t.name == "parameters.user")
    before = 1
    for tensor in version.content.tensors:
        if tensor.name == "parameters.user":
            break
        before += tensor.chunks
    assert sizes[before : before + entry.chunks] == [per_chunk, per_chunk, rows * 32 - 2 * per_chunk]
    assert max(sizes) <= 900_000


def test_digests_are_sha256_over_raw_chunk_digests() -> None:
    version = tiny_version()
    digests = [hashlib.sha256(chunk).digest() for _, chunk, _ in version.chunks()]
    assert [raw for _, _, raw in version.chunks()] == digests
    assert [chunk.digest for chunk in version.content.chunks] == [raw.hex() for raw in digests]
    begin = 1
    for tensor in version.content.tensors:
        own = digests[begin : begin + tensor.chunks]
        begin += tensor.chunks
        assert tensor.digest == hashlib.sha256(b"".join(own)).hexdigest()
    assert version.digest == hashlib.sha256(version.content_bytes).hexdigest()


def test_equal_versions_have_equal_bytes_however_they_were_put_together() -> None:
    learning = {"settings_digest": "0" * 64, "method": "iu", "base_model": "embedding-mlp"}
    metrics = {"b": {"log_loss": 1.0, "auc": 0.5}, "a": None}
    one = tiny_version(learning=learning, metrics=metrics, decisions={"x": [1, 2], "y": {"b": 1, "a": 2}})
    two = tiny_version(
        learning=dict(reversed(learning.items())),
        metrics=dict(reversed(metrics.items())),
        decisions={"y": {"a": 2, "b": 1}, "x": (1, 2)},
        replaced=dict(reversed(one.tensors.items())),
    )
    assert one.content_bytes == two.content_bytes
    assert list(one.messages(envelope())) == list(two.messages(envelope()))


def test_layout_of_arrays_does_not_reach_the_bytes() -> None:
    plain = tiny_version()
    user = plain.tensors["parameters.user"]
    for other in (np.asfortranarray(user), user.astype(">f4"), np.repeat(user, 2, axis=0)[::2]):
        assert tiny_version(replaced={"parameters.user": other}).content_bytes == plain.content_bytes


def test_content_is_a_plain_msgpack_map_in_the_documented_order() -> None:
    version = tiny_version(4, "ab" * 32)
    content = msgpack.unpackb(version.content_bytes)
    assert list(content) == [
        *("format", "version", "parent", "period", "rows", "learning", "machine", "metrics", "decisions"),
        *("tensors", "chunks", "vocabulary"),
    ]
    assert (content["format"], content["version"], content["parent"]) == (1, 4, "ab" * 32)
    assert content["period"] == {"number": 4, "start": 40, "end": 50, "interactions": 10}
    assert content["vocabulary"] == {"users": "int", "items": "int"}
    nothing = {"log_loss": None, "auc_seen_items": None, "log_loss_seen_items": None}
    assert content["metrics"] == {"iu": {"auc": 0.75, **nothing}}, "NaN becomes null"


def test_envelope_does_not_change_the_digest() -> None:
    version = tiny_version()
    manifests = [Manifest.unpack(list(version.messages(e))[-1][1]) for e in (envelope(1), envelope(9, run="other"))]
    assert {m.digest for m in manifests} == {version.digest}
    assert [m.envelope for m in manifests] == [envelope(1), envelope(9, run="other")]


def test_a_plain_client_reads_the_manifest_with_msgpack_alone() -> None:
    version = tiny_version()
    *_, (key, value) = version.messages(envelope(epoch=3))
    assert key == b"000000000001/manifest"
    manifest = msgpack.unpackb(value)
    assert manifest["content"] == version.content_bytes
    sent = msgpack.unpackb(manifest["envelope"])
    assert (sent["model"], sent["run"], sent["epoch"], sent["late"]) == ("default", "first", 3, 1)
    assert sent["source_offsets"] == {"0": 12, "3": 7}
    assert sent["signature"] is None


def test_chunk_keys_name_version_index_and_digest() -> None:
    version = tiny_version(12, "ab" * 32)
    *chunks, _ = version.messages(envelope())
    for index, (key, value) in enumerate(chunks):
        assert key == f"000000000012/{index:06d}/{hashlib.sha256(value).hexdigest()[:16]}".encode()


def test_a_version_is_the_same_after_content_and_chunks() -> None:
    version = tiny_version(users=("a", ""), items=())
    again = load(version.content_bytes, [bytes(chunk) for _, chunk, _ in version.chunks()])
    assert again.digest == version.digest
    assert again.tensors.keys() == version.tensors.keys()
    for name, array in again.tensors.items():
        np.testing.assert_array_equal(array, version.tensors[name])
        assert array.shape == version.tensors[name].shape
        assert not array.flags.writeable
    assert [bytes(c) for _, c, _ in again.chunks()] == [bytes(c) for _, c, _ in version.chunks()]


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_store_that_gives_back_other_chunks_is_noticed(damage: str) -> None:
    version = tiny_version()
    chunks = [bytes(chunk) for _, chunk, _ in version.chunks()]
    if damage == "flip":
        chunks[2] = bytes([chunks[2][0] ^ 1]) + chunks[2][1:]
    elif damage == "cut":
        chunks[2] = chunks[2][:-1]
    else:
        chunks.pop()
    with pytest.raises(DigestMismatch):
        load(version.content_bytes, chunks)


@pytest.mark.parametrize("ids", [[], [5], [2**62, -3, 0], np.array([1, 2], np.int32)])
def test_integer_ids_survive(ids: Any) -> None:
    column = ids_from_tensors("users", ids_to_tensors("users", np.asarray(ids, np.int64)))
    assert column.tolist() == list(ids)
    assert column.dtype == np.int64


@pytest.mark.parametrize("ids", [[], [""], ["a", "ä", "日本", "", "a b\n"]])
def test_string_ids_survive(ids: list[str]) -> None:
    column = ids_from_tensors("items", ids_to_tensors("items", np.array(ids, object)))
    assert column.tolist() == ids
    assert column.dtype == object


@pytest.mark.parametrize("ids", [[1.5], [b"a"], [None], ["a", 1], [2**64]])
def test_other_ids_are_refused(ids: list[Any]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        ids_to_tensors("users", np.array(ids, object))


def test_building_refuses_what_no_reader_would_take() -> None:
    version = tiny_version()
    with pytest.raises(ValueError, match="type"):
        tiny_version(replaced={"parameters.user": np.zeros((4, 8), np.complex64)})
    with pytest.raises(ValueError, match="row of"):
        tiny_version(replaced={"parameters.user": np.zeros((1, 250_000), np.float32)})
    with pytest.raises(ValueError, match="content of"):
        tiny_version(decisions={"long": "x" * 900_000})
    with pytest.raises(ValueError, match="greater than"):
        tiny_version(0)
    content = version.content
    tensors = {name: array for name, array in version.tensors.items() if not name.startswith("vocabulary")}
    with pytest.raises(ValueError, match="no vocabulary"):
        build(1, "", content.period, content.rows, content.learning, content.machine, {}, {}, tensors)


def test_a_changed_array_of_the_caller_cannot_be_changed_through_the_version() -> None:
    version = tiny_version()
    with pytest.raises(ValueError):
        version.tensors["parameters.user"][0, 0] = 1


def test_empty_and_scalar_tensors_have_their_parts() -> None:
    assert list(parts(np.zeros((0, 8), np.float32))) == []
    assert [bytes(part) for part in parts(np.array(7, np.int32))] == [(7).to_bytes(4, "little")]
    assert sum(len(part) for part in parts(np.zeros(300_000))) == 2_400_000
    assert max(len(part) for part in parts(np.zeros(300_000))) <= CHUNK_BYTES


def test_content_and_envelope_survive_packing() -> None:
    for version in chain(2):
        assert Content.unpack(version.content_bytes) == version.content
    for sent in (envelope(), Envelope(model="m"), Envelope(model="m", signature=b"later")):
        assert Envelope.unpack(sent.pack()) == sent


CATEGORIES = ((2,), (), (1, 3), (1, 2, 3))
HISTORIES = ((4, 1, 1), (), (2,))
GOLDEN: dict[str, dict[str, Any]] = {
    "format-1.msgpack": {},
    "format-2.msgpack": {"categories": CATEGORIES},
    "format-3.msgpack": {"histories": HISTORIES, "newest": (2,)},
    "format-3-categories.msgpack": {"histories": HISTORIES, "newest": (2,), "categories": CATEGORIES},
}


@pytest.mark.parametrize("golden", GOLDEN)
def test_a_version_written_by_an_earlier_release_is_read_and_would_be_written_the_same(golden: str) -> None:
    sent = [(key, value) for key, value in msgpack.unpackb(Path(__file__).with_name(golden).read_bytes())]
    (version,) = assembled(sent, "default", NumpyServing())
    again = tiny_version(users=("a", "ö", ""), replaced=version.tensors, **GOLDEN[golden])
    assert again.content.format == int(golden[7])
    assert list(again.messages(envelope())) == sent


def test_a_version_with_categories_names_them_and_the_categories_of_each_item() -> None:
    version = tiny_version(categories=((2,), (), (1, 3), (1, 2, 3)))
    content = msgpack.unpackb(version.content_bytes)
    assert (content["format"], content["vocabulary"]) == (2, {"users": "int", "items": "int", "categories": "string"})
    tensors = parsed_by_hand(b"".join(bytes(chunk) for _, chunk, _ in version.chunks()))
    assert tensors["vocabulary.categories.bytes"][2] == "newsö".encode()
    assert np.frombuffer(tensors["vocabulary.categories.offsets"][2], "<i8").tolist() == [0, 4, 6, 6]
    assert np.frombuffer(tensors["item_categories.rows"][2], "<i4").tolist() == [2, 1, 3, 1, 2, 3]
    assert np.frombuffer(tensors["item_categories.offsets"][2], "<i8").tolist() == [0, 1, 1, 3, 6]


def test_a_version_with_histories_says_how_far_they_go_and_what_they_take() -> None:
    version = tiny_version(histories=HISTORIES, newest=(2,))
    content = msgpack.unpackb(version.content_bytes)
    assert (content["format"], content["vocabulary"]) == (3, {"users": "int", "items": "int"})
    assert content["learning"]["histories_until"] == 99
    tensors = parsed_by_hand(b"".join(bytes(chunk) for _, chunk, _ in version.chunks()))
    assert np.frombuffer(tensors["histories.rows"][2], "<i4").tolist() == [4, 1, 1, 2]
    assert np.frombuffer(tensors["histories.offsets"][2], "<i8").tolist() == [0, 3, 3, 4]
    assert np.frombuffer(tensors["histories.newest"][2], "<u1").tolist() == [2, 0, 0]
    assert version.content.histories_size == 4 * 4 + 4 * 8 + 3
    assert tiny_version().content.histories_size == 0


@pytest.mark.parametrize("given", [{}, {"categories": CATEGORIES}, {"histories": HISTORIES}])
def test_a_format_that_does_not_say_what_is_there_is_refused(given: dict[str, Any]) -> None:
    content = msgpack.unpackb(tiny_version(**given).content_bytes)
    for other in {1, 2, 3} - {content["format"]}:
        with pytest.raises(SchemaMismatch, match="format"):
            Content.unpack(msgpack.packb(content | {"format": other}))
    with pytest.raises(SchemaMismatch, match=r"format|named"):
        Content.unpack(msgpack.packb(content | {"vocabulary": {**content["vocabulary"], "categories": None}}))


@pytest.mark.parametrize("number", [0, 4, "1", 1.0, True, None])
def test_an_unknown_format_is_named(number: Any) -> None:
    content = msgpack.unpackb(tiny_version().content_bytes)
    content["format"] = number
    with pytest.raises(SchemaMismatch, match="format"):
        Content.unpack(msgpack.packb(content))

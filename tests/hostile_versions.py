"""Versions that no reader may serve: what hostile manifests and tensors look like, one entry an attack.

`HOSTILE` and `careful_lies` are changes of a content as `simulators.forged` makes them, `UNFIT` are tensors that are
whole and undamaged and no model, `HOSTILE_BYTES` are values of manifest messages.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np

from stream_app.versions.model_version import ModelVersion

ROWS = 10**12
HOSTILE: dict[str, dict[str, Any]] = {
    "unknown format": {"format": 4},
    "a format that this is not": {"format": 2},
    "categories that are not there": {"format": 2, "vocabulary.categories": "string"},
    "categories in the format without": {"vocabulary.categories": "string"},
    "categories named as nothing": {"vocabulary.categories": None},
    "categories of format 2 named as nothing": {"format": 2, "vocabulary.categories": None},
    "categories that are numbers": {"format": 2, "vocabulary.categories": "int"},
    "format is no number": {"format": "1"},
    "format is true": {"format": True},
    "version is negative": {"version": -1},
    "version is text": {"version": "2"},
    "parent is no digest": {"parent": "../../etc/passwd"},
    "unknown field": {"execute": "rm"},
    "negative dimension": {"tensors.6.shape": [-4, 8]},
    "huge dimension": {"tensors.6.shape": [ROWS, 8]},
    "overflowing dimensions": {"tensors.6.shape": [2**62, 2**62]},
    "dimension beyond 64 bits": {"tensors.6.shape": [2**63, 1]},
    "too many dimensions": {"tensors.6.shape": [1] * 9},
    "fractional dimension": {"tensors.6.shape": [4.0, 8.0]},
    "unknown type": {"tensors.6.dtype": "BF16"},
    "object type": {"tensors.6.dtype": "O"},
    "other type of the same size": {"tensors.6.dtype": "I32"},
    "transposed": {"tensors.6.shape": [8, 4]},
    "duplicate name": {"tensors.3.name": "parameters.b1"},
    "odd name": {"tensors.6.name": "parameters/../user"},
    "swapped names": {"tensors.2.name": "parameters.b2", "tensors.3.name": "parameters.b1"},
    "tensor digest of something else": {"tensors.6.digest": "0" * 64},
    "digest of the header of something else": {"chunks.0.digest": "0" * 64},
    "header of another size": {"chunks.0.size": 80},
    "overlapping chunks": {"chunks.3.index": 2},
    "chunk counted twice": {"tensors.6.chunks": 2},
    "chunk of no bytes": {"chunks.3.size": 0},
    "chunk of too many bytes": {"chunks.3.size": 900_001},
    "no chunks": {"chunks": []},
    "no tensors": {"tensors": []},
    "chunks are text": {"chunks": "all"},
    "unknown base model": {"learning.base_model": "pickle"},
    "no base model": {"learning": {}},
    "vocabulary of another kind": {"vocabulary.users": "string"},
    "deep decisions": {"decisions": {"a": {"b": {"c": 1}}}},
    "infinite metric": {"metrics": {"iu": {"auc": float("inf")}}},
}


def careful_lies(version: ModelVersion) -> dict[str, dict[str, Any]]:
    """Lies whose header and digests all fit each other: what remains is what the bytes really are."""
    content = msgpack.unpackb(version.content_bytes)
    place = {tensor["name"]: index for index, tensor in enumerate(content["tensors"])}
    chunk = {tensor["name"]: index + 1 for index, tensor in enumerate(content["tensors"])}
    user, ids = place["parameters.user"], place["vocabulary.users"]
    extra = {**content["chunks"][1], "index": len(content["chunks"])}
    return {
        "10^12 rows": {f"tensors.{user}.shape": [10**12 + 1, 8], f"tensors.{ids}.shape": [10**12]},
        "a row less than there are bytes": {f"tensors.{user}.shape": [3, 8], f"tensors.{ids}.shape": [2]},
        "two tensors of one name": {
            "tensors": [*content["tensors"], content["tensors"][-1]],
            "chunks": [*content["chunks"], {**content["chunks"][-1], "index": len(content["chunks"])}],
        },
        "a chunk of no tensor": {"chunks": [*content["chunks"], extra]},
        "a chunk claimed by two tensors": {f"tensors.{user}.chunks": 2},
        "chunks longer than they are": {
            f"tensors.{user}.shape": [5, 8],
            f"chunks.{chunk['parameters.user']}.size": 160,
            f"tensors.{ids}.shape": [4],
            f"chunks.{chunk['vocabulary.users']}.size": 32,
        },
    }


UNFIT: dict[str, dict[str, Any]] = {
    "fewer rows than ids": {"parameters.user": np.zeros((3, 8), np.float32)},
    "more rows than ids": {"parameters.item": np.zeros((9, 8), np.float32)},
    "tables of different width": {"parameters.user": np.zeros((4, 9), np.float32)},
    "no width": {"parameters.user": np.zeros((4, 0), np.float32), "parameters.item": np.zeros((5, 0), np.float32)},
    "double precision": {"parameters.user": np.zeros((4, 8))},
    "layer of another width": {"parameters.w2": np.zeros((11, 6), np.float32)},
    "two outputs": {"parameters.w3": np.zeros((6, 2), np.float32), "parameters.b3": np.zeros(2, np.float32)},
    "biases of another layer": {"parameters.b1": np.zeros(6, np.float32)},
    "a tensor too many": {"parameters.w5": np.zeros((6, 1), np.float32)},
    "not finite": {"parameters.b2": np.full(6, np.nan, np.float32)},
    "infinite": {"parameters.user": np.full((4, 8), np.inf, np.float32)},
    "an id twice": {"vocabulary.users": np.array([5, 7, 5])},
    "ids of 32 bits": {"vocabulary.users": np.array([5, 7, 6], np.int32)},
}
TEXT = {"bytes": np.frombuffer(b"abc", np.uint8), "offsets": np.array([0, 1, 2, 3])}
UNFIT_TEXT: dict[str, dict[str, Any]] = {
    "offsets go back": {"offsets": np.array([0, 2, 1, 3])},
    "offsets beyond the end": {"offsets": np.array([0, 1, 2, 4])},
    "offsets wrap around": {"offsets": np.array([0, 2**63 - 1, -2, 3])},
    "offsets begin late": {"offsets": np.array([1, 1, 2, 3])},
    "not UTF-8": {"bytes": np.array([97, 255, 98], np.uint8)},
    "the same text twice": {"bytes": np.frombuffer(b"aba", np.uint8)},
}


CATEGORIES = ((2,), (), (1, 3), (1, 2, 3))
"""Six rows; the offsets of the four items are 0, 1, 1, 3, 6."""
UNFIT_CATEGORIES: dict[str, dict[str, Any]] = {
    "no table": {"parameters.category": None},
    "fewer rows than categories": {"parameters.category": np.zeros((3, 8), np.float32)},
    "a table of another width": {"parameters.category": np.zeros((4, 9), np.float32)},
    "not finite": {"parameters.category": np.full((4, 8), np.nan, np.float32)},
    "layers of a model without categories": {"parameters.w1": np.zeros((24, 12), np.float32)},
    "no rows": {"item_categories.rows": None},
    "no offsets": {"item_categories.offsets": None},
    "no names": {"vocabulary.categories.offsets": None},
    "a name twice": {
        "vocabulary.categories.bytes": np.frombuffer(b"newnew", np.uint8),
        "vocabulary.categories.offsets": np.array([0, 3, 6, 6]),
    },
    "rows of 64 bits": {"item_categories.rows": np.array([2, 1, 3, 1, 2, 3])},
    "offsets of 32 bits": {"item_categories.offsets": np.array([0, 1, 1, 3, 6], np.int32)},
    "offsets of fewer items": {"item_categories.offsets": np.array([0, 1, 3, 6])},
    "offsets of more items": {"item_categories.offsets": np.array([0, 1, 1, 3, 6, 6])},
    "offsets go back": {"item_categories.offsets": np.array([0, 3, 1, 3, 6])},
    "offsets beyond the end": {"item_categories.offsets": np.array([0, 1, 1, 3, 7])},
    "offsets end early": {"item_categories.offsets": np.array([0, 1, 1, 3, 5])},
    "offsets begin late": {"item_categories.offsets": np.array([1, 1, 1, 3, 6])},
    "offsets wrap around": {"item_categories.offsets": np.array([0, 2**63 - 1, -2, 3, 6])},
    "a row beyond the table": {"item_categories.rows": np.array([2, 1, 4, 1, 2, 3], np.int32)},
    "the cold row": {"item_categories.rows": np.array([2, 0, 3, 1, 2, 3], np.int32)},
    "a negative row": {"item_categories.rows": np.array([-1, 1, 3, 1, 2, 3], np.int32)},
    "a category twice": {"item_categories.rows": np.array([2, 1, 1, 1, 2, 3], np.int32)},
    "rows that fall": {"item_categories.rows": np.array([2, 3, 1, 1, 2, 3], np.int32)},
}

HOSTILE_BYTES = {
    "nothing": b"",
    "no map": msgpack.packb([1, 2]),
    "claims a gigantic array": b"\x81\xa7content\xdd\xff\xff\xff\xff",
    "claims a gigantic map": b"\xdf\xff\xff\xff\xff",
    "claims gigantic bytes": b"\x81\xa7content\xc6\xff\xff\xff\xff",
    "nested without end": b"\x91" * 999_000,
    "wide and nested": b"\xdc\x3f\xff" * 300_000,
    "more than a manifest may have": b"\x00" * 1_000_001,
    "extension type": msgpack.packb({"content": msgpack.ExtType(1, b"x")}),
    "timestamp": msgpack.packb({"content": msgpack.Timestamp(1)}),
    "number as key": msgpack.packb({1: b""}),
    "other fields": msgpack.packb({"content": b"", "envelope": b"", "checksum": b"", "code": b""}),
    "text instead of bytes": msgpack.packb({"content": "", "envelope": "", "checksum": ""}),
}

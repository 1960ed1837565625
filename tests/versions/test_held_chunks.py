"""Memory while a version is collected: its bytes once, whatever comes between its chunks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from simulators import MODEL, envelope, rekeyed, tiny_version

from stream_app.errors import DigestMismatch, VersionRejected
from stream_app.serving.computing import NumpyServing
from stream_app.versions.assembler import Assembler
from stream_app.versions.messages import Message
from stream_app.versions.model_version import ModelVersion
from stream_app.versions.tensors import TensorSpec, viewed

ROWS = 250_000
TABLE = np.random.default_rng(0).normal(size=(ROWS, 32)).astype(np.float32)
"""32 MB in 36 chunks."""
LARGE = tiny_version(users=(7,), items=range(1, ROWS), width=32, replaced={"parameters.item": TABLE})


def fed(assembler: Assembler, messages: list[Message]) -> ModelVersion:
    versions = [version for message in messages if (version := assembler.feed(*message)) is not None]
    assert len(versions) == 1
    return versions[0]


def test_collecting_and_judging_a_version_takes_its_bytes_once() -> None:
    assembler = Assembler(MODEL, NumpyServing())
    messages = LARGE.messages(envelope())
    tracemalloc.start()
    try:
        found = next(version for message in messages if (version := assembler.feed(*message)) is not None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * LARGE.content.size  # and an eighth for growing, the ids in order
    np.testing.assert_array_equal(found.tensors["parameters.item"], TABLE)


def test_tensors_are_read_only_and_aligned_views_of_one_buffer() -> None:
    tensors = fed(Assembler(MODEL, NumpyServing()), list(LARGE.messages(envelope()))).tensors
    for array in tensors.values():
        assert not array.flags.writeable
        assert array.flags.aligned
        assert not array.flags.owndata


def test_what_forgeries_took_is_given_back_when_the_manifest_tells_them() -> None:
    assembler = Assembler(MODEL, NumpyServing())
    *chunks, manifest = LARGE.messages(envelope())
    forged = [rekeyed((key, value[:-1] + bytes([value[-1] ^ 1]))) for key, value in chunks[1:9]]
    told = []
    for message in [*forged, *chunks[:20], manifest]:
        try:
            assembler.feed(*message)
        except VersionRejected as refusal:
            told.append(str(refusal))
    assert len(told) == 1
    assert assembler.held_bytes == sum(len(value) for _, value in chunks[:20])
    found = fed(assembler, list(chunks[20:]))
    np.testing.assert_array_equal(found.tensors["parameters.item"], TABLE)


def test_a_forgery_beside_the_chunks_does_not_have_them_copied() -> None:
    assembler = Assembler(MODEL, NumpyServing())
    *chunks, manifest = LARGE.messages(envelope())
    forgery = rekeyed((chunks[5][0], bytes(len(chunks[5][1]))))
    assembler.feed(*manifest)
    with pytest.raises(DigestMismatch):
        assembler.feed(*forgery)
    tracemalloc.start()
    try:
        fed(assembler, chunks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * LARGE.content.size


def test_chunks_in_any_order_make_the_same_version() -> None:
    *chunks, manifest = LARGE.messages(envelope())
    found = fed(Assembler(MODEL, NumpyServing()), [*reversed(chunks), manifest])
    assert [bytes(chunk) for _, chunk, _ in found.chunks()] == [bytes(chunk) for _, chunk, _ in LARGE.chunks()]


def test_in_another_order_than_ours_tensors_are_aligned_all_the_same() -> None:
    data = b"?" + np.array([1.5, 2.5], "<f4").tobytes()
    array = viewed(TensorSpec("behind one byte", "F32", (2,)), data, 1)
    assert array.flags.aligned
    np.testing.assert_array_equal(array, [1.5, 2.5])

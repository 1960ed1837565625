"""Head: whether a version belongs to the history that is there already."""

from __future__ import annotations

import pytest
from simulators import MODEL, chain, envelope, tiny_version

from stream_app.errors import IncompatibleState, StopTheLine
from stream_app.versions.head import Head, head_of
from stream_app.versions.messages import Manifest
from stream_app.versions.model_version import ModelVersion

CHAIN = chain(4)


def head(*sent: tuple[ModelVersion, int, str]) -> Head:
    """The head after these versions, each with its epoch and run."""
    values = [Manifest.pack(version.content_bytes, envelope(epoch, run)) for version, epoch, run in sent]
    return head_of(values, MODEL, "here")


THERE = head((CHAIN[0], 1, "first"), (CHAIN[1], 1, "first"))


def test_versions_up_to_the_head_are_there_and_the_next_ones_are_not() -> None:
    assert [THERE.holds(version, "first", "here") for version in CHAIN] == [True, True, False, False]
    assert not Head().holds(CHAIN[2], "first", "here")


def test_a_version_that_retention_has_taken_counts_as_there() -> None:
    assert head((CHAIN[2], 3, "first")).holds(CHAIN[0], "first", "here")


def test_another_content_under_a_number_or_another_parent_of_the_next_one_is_refused() -> None:
    with pytest.raises(IncompatibleState, match=CHAIN[0].digest):
        THERE.holds(tiny_version(1, seed=9), "first", "here")
    with pytest.raises(IncompatibleState, match=f"has {CHAIN[1].digest} as version 2.*version 3 follows {'0' * 64}"):
        THERE.holds(tiny_version(3, "0" * 64), "first", "here")


def test_a_run_that_is_over_may_not_go_on_and_a_new_one_may_begin() -> None:
    newer = head((CHAIN[0], 1, "first"), (CHAIN[1], 1, "first"), (tiny_version(1, seed=3), 2, "second"))
    with pytest.raises(StopTheLine, match=r"version 1 of run 'second', which began after our run 'first'"):
        newer.holds(CHAIN[2], "first", "here")
    assert not newer.holds(tiny_version(1, seed=4), "third", "here")
    with pytest.raises(StopTheLine, match="our run ''"):
        head((CHAIN[0], 1, "named")).holds(CHAIN[1], "", "here")


def test_a_publisher_takes_the_epoch_after_the_largest_and_none_that_readers_refuse() -> None:
    assert (Head().next_epoch("here"), THERE.next_epoch("here"), THERE.next_epoch("here", known=8)) == (1, 2, 9)
    assert head((CHAIN[0], 2**63 - 2, "first")).next_epoch("here") == 2**63 - 1
    poisoned = head((CHAIN[0], 1, "first"), (CHAIN[1], 2**63 - 1, "first"))
    with pytest.raises(StopTheLine, match=f"here holds a version of epoch {2**63 - 1}, the last there is"):
        poisoned.next_epoch("here")


def test_the_head_after_a_version_is_the_one_that_a_reader_finds() -> None:
    third = tiny_version(1, seed=3)
    assert Head().and_then(CHAIN[0], "first", 1).and_then(CHAIN[1], "first", 1) == THERE
    found = head((CHAIN[0], 1, "first"), (CHAIN[1], 1, "first"), (third, 2, "second"))
    assert THERE.and_then(third, "second", 2) == found

"""Subscribers that start while versions are removed and compacted away; `make prove` does the same at length."""

from __future__ import annotations

import uuid

import pytest

from benchmarks.prove.compaction import trial


@pytest.mark.broker
def test_whoever_starts_while_versions_are_compacted_away_serves_the_newest(broker: str) -> None:
    verdict = trial(broker, f"models-{uuid.uuid4().hex}", versions=10, subscribers=4)
    del verdict["bounds"]["compaction took most of the log"]  # it may take longer than this test
    assert all(verdict["bounds"].values()), verdict

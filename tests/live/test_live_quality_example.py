"""The example that follows quality live: what it reports is what scikit-learn says of the same rows."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaProducer
from live_helpers import PATIENCE, write_settings
from simulators import envelope, tiny_version
from sklearn.metrics import log_loss, roc_auc_score

from examples.live_quality.live_quality import LIVE, NONE, VERSION, LiveQuality, main
from models.interactions import Interactions
from stream_app.events.segment import Segment
from stream_app.live.worker_settings import WorkerSettings
from stream_app.serving.model import ServingModel
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.subscriber import ModelSubscriber
from stream_app.subscriber.histories import HistoryFollower, HistorySettings
from stream_app.versions.model_version import ModelVersion

END = 99
"""Event time until which the histories of such a version go."""
KNOWN = 2
"""Rows that the version has learned from."""
ROWS = 8
USERS, ITEMS = [11, 7, 11, 5, 11, 7, 999, 11], [3, 2, 9, 4, 4, 9, 3, 777]
LABELS = [1, 1, 1, 0, 0, 1, 0, 1]
HISTORIES = {11: [4, 3], 7: [], 5: [2]}
"""What the version says of its users."""


def version() -> ModelVersion:
    items = {item: row for row, item in enumerate((3, 2, 9, 4), 1)}
    return tiny_version(histories=[[items[item] for item in HISTORIES[user]] for user in (11, 7, 5)])


def rows(begin: int, end: int) -> Segment:
    """Some of the rows, a second apart; those that the version knows lie before its end."""
    at = np.arange(begin, end)
    columns = (np.array(column, np.int64)[begin:end] for column in (USERS, ITEMS))
    labels = np.array(LABELS, np.float32)[begin:end]
    return Segment(0, begin, end, at, Interactions(*columns, END + 1 + (at - KNOWN) * 1_000_000, labels))


@pytest.fixture
def config(settings: WorkerSettings, tmp_path: Path) -> Path:
    """Settings of a run whose version is there."""
    sink = KafkaSink(settings.kafka, settings.topics.models, settings.model)
    sink.open()
    sent = envelope(model=settings.model).model_copy(update={"source_offsets": {0: KNOWN}})
    sink.write(version(), sent)
    sink.close()
    return write_settings(tmp_path / "asmg.toml", settings, "")


@pytest.mark.broker
def test_every_row_that_is_new_to_the_version_counts_by_three_kinds_of_history(
    settings: WorkerSettings, producer: KafkaProducer, config: Path
) -> None:
    """All rows are on the topic before the first is scored: what comes later in event time must not help."""
    for at in range(ROWS):
        producer.send(settings.topics.segments, rows(at, at + 1).encode()).get(PATIENCE)
    subscription = load(ServingSettings, {"config": config}).subscription()
    histories = HistorySettings(settings.kafka, settings.topics.segments, poll=0.05)
    with ModelSubscriber(subscription) as subscriber, HistoryFollower(histories, subscriber) as follower:
        subscriber.wait(PATIENCE)
        follower.wait(PATIENCE)
        quality = LiveQuality(subscriber, follower, negatives=False)
        quality.take(rows(0, 5))
        quality.take(rows(5, ROWS))

    assert quality.known_before == KNOWN
    seen = quality.by_version[1]
    assert seen.labels == LABELS[KNOWN:]
    for kind, given in {NONE: [()] * (ROWS - KNOWN), VERSION: of_the_version(), LIVE: live()}.items():
        scored = ServingModel(version()).score_pairs(USERS[KNOWN:], ITEMS[KNOWN:], given)
        auc, loss = seen.of(kind)
        assert auc == pytest.approx(roc_auc_score(LABELS[KNOWN:], scored))
        assert loss == pytest.approx(log_loss(LABELS[KNOWN:], scored.astype(float)), rel=1e-5)


@pytest.mark.broker
def test_as_a_script_it_prints_a_line_for_the_version_that_served(
    settings: WorkerSettings, producer: KafkaProducer, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there are positives only, each row gets a negative."""
    ended = threading.Event()

    def send() -> None:  # again and again: it takes what comes after it has begun
        while not ended.wait(0.2):
            producer.send(settings.topics.segments, rows(0, ROWS).encode())

    sender = threading.Thread(target=send)
    sender.start()
    try:
        main(["--config", str(config), "--for", "3", "--negatives"])
    finally:
        ended.set()
        sender.join()
    last = capsys.readouterr().out.split("│")[1:3]
    assert last[0].strip() == "1"
    assert int(last[1]) % (2 * (ROWS - KNOWN)) == 0


def of_the_version() -> list[list[int]]:
    """By hand: whoever the version does not know has none."""
    return [HISTORIES.get(user, []) for user in USERS[KNOWN:]]


def live() -> list[list[int]]:
    """By hand: what each user liked before that moment, most recent first, then what the version says."""
    found = []
    for at in range(KNOWN, ROWS):
        since = [ITEMS[i] for i in range(KNOWN, at) if USERS[i] == USERS[at] and LABELS[i] == 1]
        found.append(since[::-1] + HISTORIES.get(USERS[at], []))
    return found

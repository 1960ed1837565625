"""One answer: a recording that goes through Kafka gives the bytes that its replay gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from key_pairs import Pair
from replay_helpers import write

from stream_app.live.worker_settings import WorkerSettings
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.synthetic import drifting_stream

PERIODS, COUNT, PRETRAIN = 8, 300, 3
VERSIONS = PERIODS - PRETRAIN + 1
PLAIN_CLIENT = Path(__file__).parents[2] / "benchmarks" / "plain_client.py"


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path, "key")


@pytest.fixture
def config(settings: WorkerSettings, tmp_path: Path, pair: Pair) -> Path:
    names = settings.topics
    path = tmp_path / "asmg.toml"
    path.write_text(
        f"""
        model = "{settings.model}"
        state_directory = "{settings.state_directory}"
        [kafka]
        bootstrap = "{settings.kafka.bootstrap}"
        [topics]
        interactions = "{names.interactions}"
        segments = "{names.segments}"
        models = "{names.models}"
        dead_letters = "{names.dead_letters}"
        [records]
        categories = "categories"
        [periods]
        count = {COUNT}
        [learning]
        pretrain = {PRETRAIN}
        passes = 2
        initialisations = 1
        negatives = 1
        batch = 64
        [publish]
        signing_key = "{pair.private}"
        """
    )
    return path


def command(config: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "stream_app.cli", "--config", str(config), *map(str, arguments)]


@pytest.mark.broker
def test_through_kafka_in_four_partitions_with_categories_every_version_is_the_replays_and_signed(
    settings: WorkerSettings, config: Path, tmp_path: Path, pair: Pair
) -> None:
    rows = drifting_stream(PERIODS * COUNT + 7, users=80, items=50, seed=11)
    genres = [[f"genre-{item % 7}", f"mood-{at % 5}"][: at % 3] for at, item in enumerate(rows.items.tolist())]
    recording = write(tmp_path / "stream.parquet", rows, categories=genres)
    subprocess.run(command(config, "replay", recording, "--out", tmp_path / "replay"), check=True)

    worker = subprocess.Popen(command(config, "worker"))
    try:
        subprocess.run(command(config, "produce", recording, "--end"), check=True)
        subscriber = SubscriberSettings(
            settings.kafka, settings.topics.models, settings.model, keys=(str(pair.public),)
        )
        with ModelSubscriber(subscriber) as following:
            served = following.wait(timeout=120, version=VERSIONS)
        status = subprocess.run(command(config, "status", "--json"), check=True, capture_output=True, text=True)
    finally:
        worker.terminate()
        assert worker.wait(timeout=10) == 0

    verdict = subprocess.run(
        [
            *(sys.executable, str(PLAIN_CLIENT), "--bootstrap", settings.kafka.bootstrap),
            *("--topic", settings.topics.models, "--directory", str(tmp_path / "replay" / "versions")),
            *("--recording", str(recording), "--count", str(COUNT)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(verdict.stdout)["equal_content"] == VERSIONS
    assert served.version.content.period.number == PERIODS
    assert served.version.content.learning["categories"] is True
    assert len(served.version.tensors["parameters.category"]) == 1 + 7 + 5
    assert used_partitions(settings) == {0, 1, 2, 3}
    assert_status(json.loads(status.stdout), len(rows))


def used_partitions(settings: WorkerSettings) -> set[int]:
    """The partitions that have records, asked of Kafka: keyed by user, all of them must."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, group_id=None)
    from kafka import TopicPartition

    partitions = [TopicPartition(settings.topics.interactions, number) for number in range(4)]
    ends = consumer.end_offsets(partitions)
    consumer.close()
    return {partition.partition for partition, end in ends.items() if end > 1}


def assert_status(status: dict[str, object], rows: int) -> None:
    """What an operator reads once everything was sent and ended."""
    text = json.dumps(status)
    assert "trainer" in text
    partitions = status["partitions"]
    assert isinstance(partitions, list)
    assert sum(partition["lag"] for partition in partitions) == 0
    assert sum(partition["end"] for partition in partitions) == rows + 4  # an END mark each

"""`asmg subscribe`: begins with the newest version, says what it scored, and ends when what was waited for is there."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from simulators import MODEL, envelope, tiny_version

from stream_app.broker import KafkaSettings
from stream_app.cli.main import main
from stream_app.cli.subscribe import line
from stream_app.serving.model import ServingModel
from stream_app.sinks.kafka import KafkaSink
from stream_app.versions.model_version import ModelVersion


@pytest.fixture
def place(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KafkaSink:
    """A topic of its own, and settings that name it, in a directory to be in."""
    topic = f"subscribed-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    monkeypatch.chdir(tmp_path)
    Path("asmg.toml").write_text(f"[kafka]\nbootstrap = '{broker}'\n[topics]\nmodels = '{topic}'\n")
    return KafkaSink(KafkaSettings(broker, transactional_id=topic), topic, MODEL)


def published(place: KafkaSink, count: int) -> list[ModelVersion]:
    versions: list[ModelVersion] = []
    place.open()
    for number in range(1, count + 1):
        versions.append(tiny_version(number, versions[-1].digest if versions else ""))
        place.write(versions[-1], envelope())
    place.close()
    return versions


@pytest.mark.broker
def test_it_begins_with_the_newest_and_ends_once_that_serves(
    place: KafkaSink, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = published(place, 3)
    assert main(["subscribe", "--until", "2", "--for", "30", "--json"]) == 0
    (told,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (told["version"], told["digest"]) == (3, versions[2].digest)


@pytest.mark.broker
def test_what_did_not_come_in_time_is_an_error_that_names_it(
    place: KafkaSink, capsys: pytest.CaptureFixture[str]
) -> None:
    published(place, 1)
    assert main(["subscribe", "--until", "2", "--for", "1"]) == 4
    said = capsys.readouterr()
    assert said.out.startswith("version 1  ")
    assert "no version 2 came within 1 s" in said.err
    assert main(["subscribe", "--count", "2", "--for", "1"]) == 4
    assert "1 of 2 versions came within 1 s" in capsys.readouterr().err


def test_a_line_tells_the_auc_of_what_served_where_auto_had_chosen_that_too() -> None:
    plain = tiny_version(metrics={"iu": {"auc": 0.75}})
    chosen = tiny_version(metrics={"iu": {"auc": 0.75}, "row-statistics": {"auc": 0.5}, "auto": {"auc": 0.5}})
    assert "AUC 0.7500 before training on it" in line(ServingModel(plain))
    assert "AUC 0.5000 before training on it" in line(ServingModel(chosen))

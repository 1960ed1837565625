"""`asmg subscribe --cache`: with a real broker, without one, beside a second one, and on a full disk."""

from __future__ import annotations

import json
import socket
import uuid
from pathlib import Path

import pytest
from cache_helpers import CHAIN, reader, served, written
from kafka import KafkaAdminClient
from simulators import envelope, tiny_version

from benchmarks.small_disk import small_disk
from stream_app.broker import KafkaSettings
from stream_app.cli.main import main
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.subscriber.cache import CacheWriter
from stream_app.subscriber.cache import writer as writer_module


@pytest.fixture
def sink(broker: str, monkeypatch: pytest.MonkeyPatch) -> KafkaSink:
    """A topic of its own, which the settings of the process name."""
    topic = f"models-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()
    monkeypatch.setenv("ASMG_KAFKA__BOOTSTRAP", broker)
    monkeypatch.setenv("ASMG_KAFKA__TRANSACTIONAL_ID", topic)
    monkeypatch.setenv("ASMG_TOPICS__MODELS", topic)
    opened = KafkaSink(KafkaSettings(broker, transactional_id=topic), topic)
    opened.open()
    return opened


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker at the address of the settings."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ASMG_KAFKA__BOOTSTRAP", f"127.0.0.1:{taken.getsockname()[1]}")


def subscribe(capsys: pytest.CaptureFixture[str], *options: object) -> tuple[int, list[int], str]:
    """The exit code, the versions that were printed, and what was said."""
    code = main(["subscribe", "--json", *map(str, options)])
    said = capsys.readouterr()
    return code, [json.loads(line)["version"] for line in said.out.splitlines()], said.err


@pytest.mark.broker
def test_it_keeps_what_is_on_the_topic_and_goes_on_where_it_was(
    sink: KafkaSink, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in CHAIN[:2]:
        sink.write(version, envelope())
    assert subscribe(capsys, "--cache", tmp_path, "--until", 2, "--for", 60)[:2] == (0, [2])
    assert served(reader(tmp_path)) == 2
    sink.write(CHAIN[2], envelope())
    assert subscribe(capsys, "--cache", tmp_path, "--until", 3, "--for", 60)[:2] == (0, [2, 3])
    assert served(reader(tmp_path)) == 3
    sink.close()


@pytest.mark.broker
def test_what_an_operator_pins_is_what_the_cache_serves_until_it_is_unpinned(
    sink: KafkaSink, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in CHAIN[:2]:
        sink.write(version, envelope())
    assert subscribe(capsys, "--cache", tmp_path, "--until", 2, "--for", 60)[:2] == (0, [2])
    following = reader(tmp_path)
    for command, versions in ((["pin", "1"], [2, 1]), (["unpin"], [1, 2])):
        assert main(["versions", *command]) == 0
        capsys.readouterr()
        assert subscribe(capsys, "--cache", tmp_path, "--count", 2, "--for", 60)[:2] == (0, versions)
        assert served(following) == versions[-1]
        assert following.pinned == (1 if versions[-1] == 1 else None)
    sink.close()


@pytest.mark.usefixtures("nobody")
def test_without_a_broker_it_serves_what_it_has_and_says_what_is_the_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, range(1, 3))
    code, versions, said = subscribe(capsys, "--cache", tmp_path, "--count", 2, "--for", 1)
    assert (code, versions) == (4, [2])
    assert "trouble: Kafka cannot be reached" in said


@pytest.mark.usefixtures("nobody")
def test_without_the_flag_it_follows_the_cache_that_the_settings_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, range(1, 3))
    monkeypatch.setenv("ASMG_SUBSCRIBER__CACHE", str(tmp_path))
    with CacheWriter(tmp_path):
        assert subscribe(capsys, "--count", 1, "--for", 30)[:2] == (0, [2])


@pytest.mark.usefixtures("nobody")
def test_a_second_one_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "PATIENCE", 0.0)
    monkeypatch.setenv("ASMG_SUBSCRIBER__CACHE", str(tmp_path))
    with CacheWriter(tmp_path):
        code, versions, said = subscribe(capsys, "--cache")
    assert (code, versions) == (3, [])
    assert f"{tmp_path}: another process writes this cache" in said


@pytest.mark.usefixtures("nobody")
def test_a_flag_without_a_directory_needs_the_setting(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = subscribe(capsys, "--cache")
    assert code == 2
    assert "setting subscriber.cache: is not set, and --cache names no directory" in said


def test_no_directory_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASMG_SUBSCRIBER__CACHE", "")
    assert load(ServingSettings, {}).subscription().cache is None


@pytest.mark.broker
def test_a_full_disk_ends_it_with_3_and_with_room_it_goes_on(
    sink: KafkaSink, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", 40_960) as disk:
        cache = tmp_path / "disk" / "cache"
        sink.write(CHAIN[0], envelope())
        assert subscribe(capsys, "--cache", cache, "--until", 1, "--for", 60)[:2] == (0, [1])
        sink.write(tiny_version(2, CHAIN[0].digest, users=range(2000)), envelope())
        code, versions, said = subscribe(capsys, "--cache", cache, "--until", 2, "--for", 60)
        assert (code, versions) == (3, [1])
        assert "make room there" in said
        assert served(reader(cache)) == 1
        disk.grow()
        assert subscribe(capsys, "--cache", cache, "--until", 2, "--for", 60)[:2] == (0, [1, 2])
    sink.close()

"""A broker that is not there is named with address and reason, quickly."""

from __future__ import annotations

import socket

import pytest

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import preflight
from stream_app.errors import Unavailable


def test_nobody_listens() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1.*refused.*kafka\.bootstrap"):
        preflight(KafkaSettings("127.0.0.1:1"))


def test_all_addresses_are_tried_and_named() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1: .*127\.0\.0\.1:2: "):
        preflight(KafkaSettings("127.0.0.1:1,127.0.0.1:2"))


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(Unavailable, match=r"nowhere\.invalid:9092"):
        preflight(KafkaSettings("nowhere.invalid:9092"))


def test_something_that_is_not_kafka_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match="does not answer as Kafka"):
            preflight(KafkaSettings(address))


@pytest.mark.parametrize("bootstrap", ["", " , ", "localhost", "localhost:", ":9092", "localhost:x", "localhost:70000"])
def test_a_bootstrap_that_is_no_address_is_refused(bootstrap: str) -> None:
    with pytest.raises(ValueError, match="bootstrap"):
        KafkaSettings(bootstrap)


def test_addresses_are_taken_apart() -> None:
    settings = KafkaSettings("kafka-1:9092, [::1]:19092")
    assert settings.addresses == [("kafka-1", 9092), ("::1", 19092)]
    assert settings.kafka_python()["bootstrap_servers"] == ["kafka-1:9092", "[::1]:19092"]
    assert settings.aiokafka()["bootstrap_servers"] == ["kafka-1:9092", "[::1]:19092"]


@pytest.mark.broker
def test_a_broker_that_is_there_passes_and_missing_topics_are_named(broker: str) -> None:
    preflight(KafkaSettings(broker))
    with pytest.raises(Unavailable, match="no topic absent-a, absent-b"):
        preflight(KafkaSettings(broker), ["absent-b", "absent-a"])

"""What tests of several rooms share: one real Kafka broker for the whole session."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy" / "kafka-local"))

# Many tests run beside a broker and child processes; one thread each is faster than all threads for everybody.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running broker: `KAFKA_BOOTSTRAP`, else one of our own that ends with the session."""
    if given := os.environ.get("KAFKA_BOOTSTRAP"):
        yield given
        return
    from broker import LocalBroker

    with LocalBroker(tmp_path_factory.mktemp("kafka")) as local:
        yield local.bootstrap


@pytest.fixture
def model_topic(broker: str) -> str:
    """A fresh compacted topic with one partition."""
    topic = f"models-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics(
        {topic: {"num_partitions": 1, "replication_factor": 1, "configs": {"cleanup.policy": "compact"}}}
    )
    admin.close()
    return topic

"""A model topic of its own for every test that needs one."""

from __future__ import annotations

import uuid

import pytest
from kafka import KafkaAdminClient


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

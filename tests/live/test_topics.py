"""The four topics as they are made, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from stream_app.errors import SettingsError, Unavailable
from stream_app.live.topics import TopicSettings, create
from stream_app.live.topics_check import check
from stream_app.live.worker_settings import WorkerSettings

pytestmark = pytest.mark.broker


def test_made_once_with_the_policies_that_they_need_and_left_alone_afterwards(settings: WorkerSettings) -> None:
    names = settings.topics
    assert create(settings.kafka, names) == []
    check(settings.kafka, names)
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    try:
        counts = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(list(names.names))}
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in (names.segments, names.models)]
        described = str(admin.describe_configs(asked, config_filter="all"))
    finally:
        admin.close()
    assert counts == {names.interactions: 4, names.segments: 1, names.models: 1, names.dead_letters: 1}
    assert "compact" in described
    assert str(7 * 24 * 3600 * 1000) in described


def test_a_topic_whose_order_is_its_meaning_may_not_have_partitions(settings: WorkerSettings) -> None:
    wrong = replace(settings.topics, segments=settings.topics.interactions, interactions=settings.topics.segments)
    with pytest.raises(SettingsError, match=r"topics\.segments.* has 4 partitions"):
        check(settings.kafka, wrong)


def test_a_topic_that_is_not_there_is_named(settings: WorkerSettings) -> None:
    with pytest.raises(Unavailable, match="no-such-topic"):
        check(settings.kafka, replace(settings.topics, segments="no-such-topic"))


def test_two_topics_may_not_have_one_name() -> None:
    with pytest.raises(ValueError, match="four different topics"):
        TopicSettings(interactions="same", segments="same")

"""The four topics as they are made, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from stream_app.broker.preflight import connect
from stream_app.errors import SettingsError, Unavailable
from stream_app.live.cluster.ends import ends_of
from stream_app.live.cluster.topics import TopicSettings, create
from stream_app.live.cluster.topics_check import Fit, check, fit
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


def test_asking_where_topics_end_which_a_worker_does_every_10_s_warns_of_nothing(
    settings: WorkerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    assert set(ends_of(settings.kafka, settings.topics.names)) == set(settings.topics.names)
    assert [record.getMessage() for record in caplog.records if record.name == "kafka.coordinator.consumer"] == []


def test_two_topics_may_not_have_one_name() -> None:
    with pytest.raises(ValueError, match="four different topics"):
        TopicSettings(interactions="same", segments="same")


def altered(settings: WorkerSettings, topic: str, **configs: str) -> Fit:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    try:
        changed = {name.replace("_", "."): value for name, value in configs.items()}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=changed)])
    finally:
        admin.close()
    with connect(settings.kafka) as connection:
        return fit(connection, settings.topics)


@pytest.mark.parametrize(
    ("key", "configs", "said"),
    [
        ("models", {"cleanup_policy": "delete"}, "would remove versions that are served; set cleanup.policy=compact"),
        ("models", {"cleanup_policy": "compact,delete"}, "would remove versions that are served"),
        ("segments", {"cleanup_policy": "compact"}, "would remove rows before they are read"),
        ("interactions", {"cleanup_policy": "compact"}, "would remove rows before they are read"),
        ("segments", {"max_message_bytes": "900000"}, "takes messages of 900000 bytes, ours may have 1000000"),
        ("dead_letters", {"max_message_bytes": "1000"}, "takes messages of 1000 bytes, ours may have 100000"),
    ],
)
def test_a_topic_that_would_lose_something_is_refused_with_what_to_set(
    settings: WorkerSettings, key: str, configs: dict[str, str], said: str
) -> None:
    found = altered(settings, getattr(settings.topics, key), **configs)
    assert [difference.key for difference in found.differences] == [key]
    with pytest.raises(SettingsError, match=rf"topics\.{key}") as refused:
        check(settings.kafka, settings.topics)
    assert said in str(refused.value)


def test_a_short_retention_is_told_but_refuses_nothing(settings: WorkerSettings) -> None:
    found = altered(settings, settings.topics.segments, retention_ms="3600000")
    assert [(one.key, one.serious) for one in found.differences] == [("segments", False)]
    assert "keeps records for 1 hours" in found.differences[0].found
    check(settings.kafka, settings.topics)

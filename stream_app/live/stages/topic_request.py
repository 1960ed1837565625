"""Kafka's Metadata request in version 12, which tells a topic's id, spoken through aiokafka, whose own ends at 5.

A topic that is deleted and made again keeps its name and gets another id; nothing else tells the two apart for sure.
Brokers before 3.0 are asked in version 5 and say no id. Built from aiokafka's own pieces, guarded by a test.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

_API, _VERSION = 3, 12
_UNKNOWN_TOPIC = 3
_NO_ID = bytes(16)


@dataclass(frozen=True)
class TopicFacts:
    """What a broker says of a topic. leaders: the broker that leads each partition, by partition."""

    topic_id: str
    """As Kafka's own tools write it; "" where the broker does not say it."""
    leaders: Mapping[int, int]


class _Uuid(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(len(_NO_ID))


_BROKER = (
    ("node_id", Int32),
    ("host", CompactString()),
    ("port", Int32),
    ("rack", CompactString()),
    ("tags", TaggedFields),
)
_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    ("tags", TaggedFields),
)
_TOPIC = (
    ("error_code", Int16),
    ("topic", CompactString()),
    ("topic_id", _Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("authorized_operations", Int32),
    ("tags", TaggedFields),
)


class _Answer(Response):
    API_KEY = _API
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(*_BROKER)),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        ("topics", CompactArray(*_TOPIC)),
        ("tags", TaggedFields),
    )


class _Question(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = _API
    API_VERSION = _VERSION
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("topic", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicRequest(Request[MetadataRequest_v5 | _Question]):
    """Asks for one topic, which is not created by that."""

    API_KEY = _API

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request in the newest version that both sides speak."""
        if request_struct_class.API_VERSION < _VERSION:
            return request_struct_class([self._topic], False)
        return request_struct_class([(_NO_ID, self._topic, {})], False, False, {})


def facts_in(answer: Any) -> TopicFacts | None:
    """What the answer to a `TopicRequest` says; None when there is no such topic.

    Raises KafkaError: the broker cannot tell now, or we may not know.
    """
    (topic,) = answer.to_object()["topics"]
    if topic["error_code"] == _UNKNOWN_TOPIC:
        return None
    if topic["error_code"]:
        raise for_code(topic["error_code"])(topic["topic"])
    leaders = {partition["partition"]: partition["leader"] for partition in topic["partitions"]}
    return TopicFacts(id_text(topic.get("topic_id", _NO_ID)), leaders)


def id_text(topic_id: bytes) -> str:
    """A topic's id as Kafka's own tools write it; "" for none."""
    return "" if topic_id == _NO_ID else urlsafe_b64encode(topic_id).rstrip(b"=").decode()

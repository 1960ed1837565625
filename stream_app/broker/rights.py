"""What a user must be allowed on the cluster, and which of it is not: asked without changing anything there.

| right | asked by | without it Kafka answers |
|---|---|---|
| on a topic | a description of the topic with what we may do | the operation is not in the list, or error 29 |
| to read in a group | a heartbeat of a member that does not exist | error 30 |
| to write with a transactional id | the end of a transaction of a producer that does not exist | error 53 |

The last two are refused for another reason when the right is there. Kafka looks at rights before everything else, so
that any broker can be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stream_app.broker.connection import Connection
from stream_app.errors import AccessDenied

Kind = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Create"]

TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED, TRANSACTIONAL_ID_DENIED = 29, 30, 31, 53
UNKNOWN_TOPIC = 3
_CODES: Mapping[str, int] = {"Read": 3, "Write": 4, "Create": 5}
_NOT_TOLD = 31  # the bit that stands for "not asked", or for a broker that does not know
_NOBODY = "asmg-asks-for-its-rights"


@dataclass(frozen=True)
class Right:
    """Operations on one resource; each includes that of describing it. purpose: what they are needed for."""

    kind: Kind
    name: str
    operations: tuple[Operation, ...]
    purpose: str = ""

    @property
    def resource(self) -> str:
        """As in "topic interactions"."""
        return f"{self.kind} {self.name}"

    def denied(self, principal: str) -> AccessDenied:
        """The error that says so."""
        return AccessDenied(
            f"{principal} may not {' or '.join(self.operations).lower()} {self.resource} ({self.purpose})",
            "have the right granted: asmg topics print has the command",
            self.resource,
        )


def denied_by(error: BaseException, where: str) -> AccessDenied | None:
    """What an error of either client library says of a missing right; None when it says something else."""
    denials = (TOPIC_DENIED, GROUP_DENIED, CLUSTER_DENIED, TRANSACTIONAL_ID_DENIED)
    if isinstance(error, OSError) or getattr(error, "errno", None) not in denials:
        return None
    said = f"{where}: Kafka does not allow it ({type(error).__name__}: {error})"
    return AccessDenied(said, "asmg config check names the right that is missing", where)


@dataclass(frozen=True)
class Topic:
    """What the cluster tells us of a topic. partitions: None when it is not there, or not shown to us."""

    name: str
    partitions: int | None
    operations: frozenset[int] | None
    shown: bool


def describe(connection: Connection, names: Iterable[str]) -> dict[str, Topic]:
    """The topics of these names; operations is None where the cluster does not tell, or has no such topic."""
    from kafka.protocol.metadata import MetadataRequest

    topics = [MetadataRequest.MetadataRequestTopic(name=name) for name in sorted(set(names))]
    request = MetadataRequest(
        topics=topics, allow_auto_topic_creation=False, include_topic_authorized_operations=True, min_version=1
    )
    found = {}
    for topic in connection.ask(request).topics:
        known = frozenset(topic.authorized_operations or {_NOT_TOLD})
        found[topic.name] = Topic(
            topic.name,
            None if topic.error_code in (UNKNOWN_TOPIC, TOPIC_DENIED) else len(topic.partitions),
            None if _NOT_TOLD in known or topic.error_code == UNKNOWN_TOPIC else known,
            topic.error_code != TOPIC_DENIED,
        )
    return found


def missing(connection: Connection, rights: Sequence[Right]) -> list[Right]:
    """The rights that are not there, each with those of its operations that are missing."""
    topics = describe(connection, [right.name for right in rights if right.kind == "topic"])
    return [right for wanted in rights if (right := _missing(connection, wanted, topics)) is not None]


def _missing(connection: Connection, right: Right, topics: Mapping[str, Topic]) -> Right | None:
    if right.kind != "topic":
        return right if _refused(connection, right) else None
    topic = topics[right.name]
    if not topic.shown:
        return right
    if topic.operations is None:
        return None
    lacking = tuple(operation for operation in right.operations if _CODES[operation] not in topic.operations)
    return replace(right, operations=lacking) if lacking else None


def _refused(connection: Connection, right: Right) -> bool:
    from kafka.protocol.consumer.group import HeartbeatRequest
    from kafka.protocol.producer.transaction import EndTxnRequest

    if right.kind == "group":
        asked = HeartbeatRequest(group_id=right.name, generation_id=0, member_id=_NOBODY)
        return bool(connection.ask(asked).error_code == GROUP_DENIED)
    # Version 5 would count the producer's epoch up; this producer does not exist, but let nobody have to wonder.
    ended = EndTxnRequest(
        transactional_id=right.name, producer_id=-1, producer_epoch=-1, committed=False, max_version=4
    )
    return bool(connection.ask(ended).error_code == TRANSACTIONAL_ID_DENIED)

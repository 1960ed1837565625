"""Who needs which rights on the cluster: the smallest set for each role, and the commands that grant it.

Reading and writing include describing in Kafka, so that nothing else is listed. Nobody needs to create a topic, to see
the cluster's settings, or (from Kafka 2.8 on) the right of idempotent writes beside that of writing.
"""

from __future__ import annotations

import shlex
from typing import Literal, get_args

from stream_app.broker import KafkaSettings
from stream_app.broker.rights import Kind, Operation, Right
from stream_app.live.cluster.topics import TopicSettings

Role = Literal["worker", "subscriber", "histories", "producer", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
Task = Literal["redrive", "pin"]
"""What an operator does; each needs a part of the operator's rights."""

MEANING: dict[Role, str] = {
    "worker": "asmg worker, status, record",
    "subscriber": "serving processes, asmg subscribe",
    "histories": "serving processes with a HistoryFollower, beside their subscriber",
    "producer": "asmg produce, and whoever sends interactions",
    "operator": "asmg dead-letters list, show, redrive; asmg versions pin, unpin",
}


def rights(who: Role | Task, kafka: KafkaSettings, topics: TopicSettings, model: str) -> list[Right]:
    """What that role or task needs, in the order in which data flow."""
    transactions = kafka.our("transactional_id", model)
    needed: dict[Role | Task, list[tuple[Kind, str, tuple[Operation, ...], str]]] = {
        "worker": [
            ("topic", topics.interactions, ("Read",), "collect reads interactions"),
            ("topic", topics.segments, ("Read", "Write"), "collect writes segments, window reads them"),
            ("topic", topics.models, ("Read", "Write"), "the trainer publishes, and looks at what is there"),
            ("topic", topics.dead_letters, ("Write",), "what is no interaction is sent there"),
            ("group", kafka.our("collect_group", model), ("Read",), "collectors share the partitions"),
            ("group", kafka.our("window_group", model), ("Read",), "one window is active, others stand by"),
            ("transactional-id", transactions, ("Write",), "a version is one transaction"),
        ],
        "subscriber": [("topic", topics.models, ("Read",), "versions are read there")],
        "histories": [("topic", topics.segments, ("Read",), "what users liked since the served version is read there")],
        "producer": [("topic", topics.interactions, ("Write",), "interactions are sent there")],
        "redrive": [
            ("topic", topics.dead_letters, ("Read", "Write"), "letters are read, and closed when they are redriven"),
            ("topic", topics.interactions, ("Read", "Write"), "originals are read, and redriven ones sent again"),
            ("topic", topics.segments, ("Read",), "what the newest run has read again is not redriven"),
            ("group", kafka.our("collect_group", model), ("Read",), "only what the collectors have passed is redriven"),
            ("group", kafka.our("window_group", model), ("Read",), "it names the newest run"),
            ("transactional-id", f"{transactions}-redrive", ("Write",), "redriving is one transaction"),
        ],
        "pin": [
            ("topic", topics.models, ("Read", "Write"), "what is pinned is looked at there, and said to subscribers"),
            ("transactional-id", f"{transactions}-control", ("Write",), "of two operators one is let finish"),
        ],
    }
    needed["operator"] = needed["redrive"] + needed["pin"]
    return [Right(*right) for right in needed[who]]


def grant(right: Right, principal: str, bootstrap: str) -> str:
    """The command of Kafka's own tools that grants the right, for whoever may do that."""
    words = ["kafka-acls", "--bootstrap-server", bootstrap, "--add", "--allow-principal", principal]
    for operation in right.operations:
        words += ["--operation", operation]
    return shlex.join([*words, f"--{right.kind}", right.name])

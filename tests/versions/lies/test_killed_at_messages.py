"""`kill -9` of a publisher and of a subscriber at every message of a version: what is served then, and afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import KafkaAdminClient
from killed import MESSAGES, version_of

from stream_app.broker import KafkaSettings
from stream_app.serving.model import ServingModel
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

ROOT = Path(__file__).resolve().parents[3]
LONG = 60.0
POINTS = [("before", 1), *(("after", nth) for nth in range(1, MESSAGES + 1)), ("commit", 0), ("commit", 1)]


class Topic(NamedTuple):
    """A topic, and a model of its own: publishers of one model fence each other."""

    bootstrap: str
    topic: str
    model: str


@pytest.fixture(scope="module")
def topic(broker: str) -> Iterator[Topic]:
    """Made for this module."""
    name = f"killed-{uuid.uuid4().hex}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics(
        {name: {"num_partitions": 1, "replication_factor": 1, "configs": {"cleanup.policy": "compact"}}}
    )
    yield Topic(broker, name, name)
    admin.delete_topics([name])
    admin.close()


@pytest.fixture(scope="module")
def process(topic: Topic) -> Iterator[Callable[..., int]]:
    """Has a process do something on the topic, and says how it ended."""
    child = Path(__file__).with_name("killed.py")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with subprocess.Popen(
        [sys.executable, str(child)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None

        def ended(what: str, **arguments: Any) -> int:
            line = {"what": what, **topic._asdict(), **arguments}
            print(json.dumps(line), file=running.stdin, flush=True)
            return int(running.stdout.readline())

        yield ended
        running.stdin.close()


def served_anew(topic: Topic) -> ServingModel:
    """What a subscriber serves first that starts now."""
    bootstrap, name, model = topic
    with ModelSubscriber(SubscriberSettings(KafkaSettings(bootstrap), name, model, poll=0.05)) as subscriber:
        return subscriber.wait(LONG)


def is_exactly(model: ServingModel, number: int) -> bool:
    expected = version_of(number)
    same = all((model.version.tensors[name] == array).all() for name, array in expected.tensors.items())
    return same and model.version.content_bytes == expected.content_bytes


Followed = tuple[ModelSubscriber, list[str], list[Exception]]


@pytest.fixture(scope="module")
def follower(topic: Topic) -> Iterator[Followed]:
    """One that is there all the time; what it has served, and refused."""
    bootstrap, name, model = topic
    swaps, refusals = list[str](), list[Exception]()
    with ModelSubscriber(
        SubscriberSettings(KafkaSettings(bootstrap), name, model, poll=0.05),
        on_swap=lambda one: swaps.append(one.version.digest),
        on_refusal=refusals.append,
    ) as subscriber:
        yield subscriber, swaps, refusals


@pytest.mark.broker
@pytest.mark.parametrize("number", range(1, len(POINTS) + 1), ids=[f"{when}-{nth}" for when, nth in POINTS])
def test_a_killed_publisher_leaves_the_version_before_or_a_whole_one_and_the_next_goes_on(
    topic: Topic, process: Callable[..., int], follower: Followed, number: int
) -> None:
    """Each process publishes what the one before was killed in, and is killed in the next version."""
    point = POINTS[number - 1]
    assert process("publish", numbers=[number, number + 1], point=point) == -signal.SIGKILL
    there = number + 1 if point == ("commit", 1) else number
    assert is_exactly(served_anew(topic), there)
    subscriber, swaps, refusals = follower
    assert is_exactly(subscriber.wait(LONG, there), there)
    first = next(one for one in range(1, there + 1) if version_of(one).digest == swaps[0])
    assert swaps == [version_of(one).digest for one in range(first, there + 1)], "none is left out, none comes twice"
    assert refusals == []


@pytest.fixture(scope="module")
def newest(process: Callable[..., int]) -> int:
    """The number of a version that is whole, after one that was killed."""
    number = len(POINTS) + 3
    assert process("publish", numbers=[number - 1], point=("before", MESSAGES)) == -signal.SIGKILL
    assert process("publish", numbers=[number], point=()) == 0
    return number


@pytest.mark.broker
@pytest.mark.parametrize("messages", range(1, MESSAGES + 1))
def test_a_killed_subscriber_disturbs_nobody_and_the_next_one_serves_the_newest(
    topic: Topic, process: Callable[..., int], newest: int, messages: int
) -> None:
    assert process("subscribe", messages=messages, version=newest + 1) == -signal.SIGKILL
    assert is_exactly(served_anew(topic), newest)

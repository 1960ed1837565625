"""Processes that end themselves by SIGKILL at a message of a version: publishers with the real sink, subscribers with
the real reader. What they call is wrapped there and nowhere else.

    python killed.py            a line on stdin: {"what": "publish", ...its arguments}; a line on stdout: how it ended

Everything is imported once; each line is a fork, made before there is any thread.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from kafka import KafkaProducer
from simulators import envelope, tiny_version

from stream_app.broker import KafkaSettings
from stream_app.sinks.kafka import KafkaSink
from stream_app.subscriber import ModelSubscriber, SubscriberSettings
from stream_app.subscriber.messages import FollowMessages
from stream_app.versions.messages import manifest_key
from stream_app.versions.model_version import ModelVersion

_LEARNING = {"settings_digest": "0" * 64, "method": "iu", "base_model": "matrix-factorization"}
_NONE = dict.fromkeys(f"parameters.{name}{layer}" for name in "wb" for layer in (1, 2, 3))


@cache
def version_of(number: int) -> ModelVersion:
    """A version of few messages: eight chunks and a manifest."""
    draw = np.random.default_rng(number)
    rows = {"user_bias": (4, 1), "item_bias": (5, 1), "bias": (1,)}
    biases = {f"parameters.{name}": draw.normal(size=shape).astype(np.float32) for name, shape in rows.items()}
    parent = version_of(number - 1).digest if number > 1 else ""
    return tiny_version(number, parent, replaced={**_NONE, **biases}, learning=_LEARNING)


MESSAGES = 1 + len(version_of(1).content.chunks)


def publish(bootstrap: str, topic: str, model: str, numbers: list[int], point: Sequence[Any]) -> None:
    """Publishes these versions. point: where to end in the last of them, as `Ending` says; (): nowhere."""
    if point:
        Ending(numbers[-1], tuple(point)).install()
    sink = KafkaSink(KafkaSettings(bootstrap), topic, model)
    sink.open()
    for number in numbers:
        sink.write(version_of(number), envelope(model=model))


def subscribe(bootstrap: str, topic: str, model: str, messages: int, version: int) -> None:
    """Follows the topic, and ends when it has taken so many messages."""
    taken = 0
    original: Callable[..., Any] = FollowMessages._taken

    def counted(self: FollowMessages, message: Any) -> Any:
        nonlocal taken
        yield from original(self, message)
        taken += 1
        if taken == messages:
            os.kill(os.getpid(), signal.SIGKILL)

    FollowMessages._taken = counted
    with ModelSubscriber(SubscriberSettings(KafkaSettings(bootstrap), topic, model, poll=0.05)) as subscriber:
        subscriber.wait(60, version)


class Ending:
    """("before", n) the n-th message of a version is sent, ("after", n) it has reached the broker, ("commit", 0) before
    its transaction is committed, ("commit", 1) after."""

    def __init__(self, number: int, point: tuple[Any, ...]) -> None:
        self._prefix, self._manifest = b"%012d/" % number, manifest_key(number)
        self._point, self._sent, self._complete = point, 0, False

    def install(self) -> None:
        """In this process."""
        send, commit = KafkaProducer.send, KafkaProducer.commit_transaction

        def sending(producer: Any, *arguments: Any, key: bytes = b"", **named: Any) -> Any:
            ours = key.startswith(self._prefix)
            self._sent += ours
            self._complete = self._complete or key == self._manifest
            self._end_at(ours, ("before", self._sent))
            future = send(producer, *arguments, key=key, **named)
            if ours and self._point == ("after", self._sent):
                producer.flush(30)
                self._end_at(ours, ("after", self._sent))
            return future

        def committing(producer: Any) -> None:
            self._end_at(self._complete, ("commit", 0))
            commit(producer)
            self._end_at(self._complete, ("commit", 1))

        KafkaProducer.send, KafkaProducer.commit_transaction = sending, committing

    def _end_at(self, ours: bool, point: tuple[Any, ...]) -> None:
        if ours and point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Forks for each line that comes, and says with which code or signal (negative) that process has ended."""
    for line in sys.stdin:
        what, arguments = (told := json.loads(line)).pop("what"), told
        if (child := os.fork()) == 0:
            {"publish": publish, "subscribe": subscribe}[what](**arguments)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()

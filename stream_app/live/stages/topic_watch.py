"""Whether a topic is still the one that is being read, and where its partitions end: asked of the broker itself.

Over a connection of its own, so that no question waits behind data. One costs 0.4 ms (measured, broker on the same
machine), so that it may be asked for every batch.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, LeaderNotAvailableError, NodeNotReadyError, for_code
from aiokafka.protocol.offset import OffsetRequest

from stream_app.broker import KafkaSettings
from stream_app.errors import TopicRecreated, Unavailable
from stream_app.live.stages.topic_request import TopicFacts, TopicRequest, facts_in

WATCH_EVERY = 2.0
"""Seconds between two looks at a topic in which nothing moves."""
GONE_AFTER = 3.0
"""Seconds for which a topic must be missing to be gone: a broker that has just started may not know it yet."""
_RETRY = 0.2
_ANSWER_MS = 5_000
_METADATA_MS = 10_000
_LATEST, _NO_LEADER = -1, -1
_ALL, _COMMITTED = 0, 1


class LogEnd(NamedTuple):
    """Where a partition ends. `stable`: for readers of committed transactions; `high`: with those still open."""

    stable: int
    high: int


class TopicWatch:
    """Watches one topic. Made and used in one event loop: `start`, any number of questions, `stop`."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self._id = ""
        self._client: Any = None

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError."""
        self._client = AIOKafkaClient(
            **self._kafka.aiokafka(), metadata_max_age_ms=_METADATA_MS, request_timeout_ms=_ANSWER_MS
        )
        self._client.set_topics([self._topic])
        await self._client.bootstrap()

    async def stop(self) -> None:
        """Disconnects."""
        if self._client is not None:
            await self._client.close()

    async def begin(self) -> TopicFacts:
        """The topic as it is now; `check` means this one from here on. Waits for a broker that does not answer.

        Raises Unavailable when there is no such topic.
        """
        facts = await self._there()
        self._id = facts.topic_id
        return facts

    async def check(self) -> None:
        """Returns while the topic is the one that `begin` saw. Waits for a broker that does not answer.

        Raises TopicRecreated when it is another one, Unavailable when there is none.
        """
        facts = await self._there()
        if facts.topic_id and self._id and facts.topic_id != self._id:
            raise TopicRecreated(self._topic, f"its id was {self._id} and is {facts.topic_id}")

    async def ends(self, partitions: Iterable[int]) -> Mapping[int, LogEnd]:
        """Where these partitions end, as their leaders say now. Raises KafkaError unless all of them answer."""
        facts = await self._ask()
        led: dict[int, list[int]] = defaultdict(list)
        for partition in partitions:
            led[_NO_LEADER if facts is None else facts.leaders.get(partition, _NO_LEADER)].append(partition)
        if _NO_LEADER in led:
            raise LeaderNotAvailableError(f"{self._topic} {led[_NO_LEADER]}")
        stable, high = [
            {n: end for node, numbers in led.items() for n, end in (await self._ends(node, numbers, level)).items()}
            for level in (_COMMITTED, _ALL)
        ]
        return {partition: LogEnd(stable[partition], high[partition]) for partition in stable}

    async def _there(self) -> TopicFacts:
        """Asked again while there is no answer, or while the topic has only just gone."""
        missing: float | None = None
        while True:
            try:
                if (facts := await self._ask()) is not None:
                    return facts
                missing = monotonic() if missing is None else missing
            except KafkaError as error:
                if not error.retriable:
                    raise  # for instance: we may not see the topic
                missing = None
            if missing is not None and monotonic() - missing >= GONE_AFTER:
                raise Unavailable(f"topic {self._topic} is not there (any more): make it, or correct its name")
            await asyncio.sleep(_RETRY)

    async def _ask(self) -> TopicFacts | None:
        node = self._client.get_random_node()
        if node is None:
            raise NodeNotReadyError("no broker is known")
        return facts_in(await self._client.send(node, TopicRequest(self._topic)))

    async def _ends(self, node: int, partitions: list[int], isolation: int) -> dict[int, int]:
        asked = [(self._topic, [(partition, _LATEST) for partition in partitions])]
        response = await self._client.send(node, OffsetRequest(-1, isolation, asked))
        ((_, answers),) = response.topics
        for partition, error, _, _ in answers:
            if error:
                raise for_code(error)(f"{self._topic} {partition}")
        return {partition: offset for partition, _, _, offset in answers}

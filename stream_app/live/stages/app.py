"""One Faust app per child process: its settings, and how it runs until it is told to end or must not go on.

Rules: a stage sees every batch, in order, from where it said that reading starts; a batch is never skipped: an error in
a stage ends the process, and the next one reads the batch again. Kafka's commit is a hint that follows behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, cast

import faust
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from stream_app.broker import KafkaSettings
from stream_app.broker.preflight import reach
from stream_app.errors import Unavailable
from stream_app.live.alone import member_id
from stream_app.live.seeing import metrics
from stream_app.live.stages.seldom import quiet_libraries
from stream_app.live.stages.transport import Batch, BatchScheduler, BatchSchema, Consumer, Known, Offsets, Transport
from stream_app.telemetry import event, listed

COMMIT_EVERY = 0.5
STALLED_AFTER = 60.0
"""Seconds with records waiting and none processed after which a process ends, to be started afresh."""


class Stage(Protocol):
    """What a child does with a topic; it owns what it opens. `topic` is read; `hints` are the offsets to commit."""

    topic: str
    hints: dict[TP, int]

    async def start(self) -> None:
        """Called once, before anything is read."""

    async def starts(self, known: Mapping[TP, Known]) -> Offsets:
        """Called after every assignment: where to start."""

    async def take(self, batch: Batch) -> None:
        """Called with one batch after the other; whatever it raises ends the process, and nothing was skipped."""

    def revoked(self) -> None:
        """Called when partitions are taken away; a `take` may still be under way."""

    async def watch(self) -> None:
        """Runs beside `take`, for ever; what it raises ends the process."""

    async def stop(self) -> None:
        """Called once, after the last `take`."""


def credentials(kafka: KafkaSettings) -> Any:
    """How Faust's own clients come in; None for an open broker. Raises SettingsError, see `KafkaSettings.security`."""
    told = kafka.security()
    if kafka.sasl:
        return faust.SASLCredentials(
            username=told["sasl_plain_username"],
            password=told["sasl_plain_password"],
            mechanism=told["sasl_mechanism"],
            ssl_context=told.get("ssl_context"),
        )
    return faust.SSLCredentials(told["ssl_context"]) if kafka.tls else None


def build(name: str, member: str, kafka: KafkaSettings, directory: Path) -> faust.App:
    """A Faust app in the consumer group `name`; its agents' topics need `schema=BatchSchema(), acks=False`.

    member: the static member id, unique per process and the same after its restart; directory: scratch for Faust.
    Call it in a running event loop, and set its transport's `starts` before it starts.
    """
    app = faust.App(
        name,
        broker=[f"aiokafka://{server}" for server in kafka.servers],
        broker_client_id=kafka.client_id,
        broker_credentials=credentials(kafka),
        datadir=directory,
        ConsumerScheduler=BatchScheduler,
        stream_buffer_maxsize=8,  # batches: the default of 4096 would hold 4096 fetches
        stream_wait_empty=False,
        consumer_auto_offset_reset="none",  # "earliest" would read a topic made anew from 0, in silence
        consumer_group_instance_id=member,  # a restart reads on after 1.3 s instead of 7
        consumer_metadata_max_age_ms=10_000,  # a broker lost at start would leave no assignment for 5 minutes
        broker_session_timeout=10.0,
        broker_max_poll_interval=2_147_483.0,  # once past it a worker hangs for ever; this is the most that Kafka takes
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        table_standby_replicas=0,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    return app


class Runner:
    """A stage and the Faust app that feeds it. Made in the event loop that it runs in."""

    def __init__(self, app: faust.App, stage: Stage, secrets: Callable[[], str] = lambda: "") -> None:
        """secrets: what tells one state of the files of secrets and certificates from another."""
        self._app, self._stage = app, stage
        self._secrets, self._came_in_with = secrets, secrets()
        self._done: dict[TP, int] = {}
        cast(Transport, app.transport).starts = self._starts
        app.agent(app.topic(stage.topic, schema=BatchSchema(), acks=False))(self._feed)
        app.on_partitions_revoked.connect(self._revoked, weak=False)
        app.on_partitions_assigned.connect(self._assigned, weak=False)

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT, then ends in order. Raises what ended it otherwise."""
        told, ready = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        await self._stage.start()
        works = (told.wait(), self._serve(ready), self._commit(ready), self._watch(ready), self._stage.watch())
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await self._commit_hints()
        finally:
            for task in tasks:
                task.cancel()
            # After a crash Faust's own stop is cancelled half-way; there is nothing left that it could save.
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._app.stop()
            await self._stage.stop()

    async def _starts(self, known: Mapping[TP, Known]) -> Offsets:
        offsets = await self._stage.starts(known)
        self._done.update(offsets)
        return offsets

    async def _feed(self, batches: Any) -> None:
        async for batch in batches:
            try:
                await self._stage.take(batch)
            except Exception as error:
                await self._app.crash(error)
                # Returning, or raising, would make Faust skip this batch and go on with the next.
                await asyncio.Event().wait()
            self._done[TP(batch.topic, batch.partition)] = batch.next_offset

    def _revoked(self, *_: Any, **__: Any) -> None:
        self._done.clear()
        self._stage.hints.clear()
        self._stage.revoked()

    def _assigned(self, *given: Any, **_: Any) -> None:
        _, assigned = given  # what signals pass on: who sends, and his arguments
        metrics.assigned(len(assigned))
        event("assigned", topic=self._stage.topic, partitions=listed(tp.partition for tp in assigned))

    async def _serve(self, ready: asyncio.Event) -> None:
        await self._app.start()
        ready.set()
        await self._app.wait_until_stopped()
        raise self._app.crash_reason or Unavailable("the Kafka client ended without saying why")

    async def _commit(self, ready: asyncio.Event) -> None:
        await ready.wait()
        while True:
            await asyncio.sleep(COMMIT_EVERY)
            await self._commit_hints()

    async def _commit_hints(self) -> None:
        if self._stage.hints:
            hints = dict(self._stage.hints)
            self._stage.hints.clear()
            await cast(Consumer, self._app.consumer).commit_next(hints)

    async def _watch(self, ready: asyncio.Event) -> None:
        """Ends when records have waited for STALLED_AFTER while nothing moved: a client that hangs does not say so."""
        await ready.wait()
        consumer = cast(Consumer, self._app.consumer)
        seen: dict[TP, int] = {}
        since = monotonic()
        while True:
            await asyncio.sleep(STALLED_AFTER / 6)
            self._check_secrets()
            tps = consumer.assignment()
            ends = await consumer.highwaters(*tps) if tps else {}
            if self._done != seen or all(self._done.get(tp, 0) >= end for tp, end in ends.items()):
                seen, since = dict(self._done), monotonic()
            elif monotonic() - since > STALLED_AFTER:
                raise Unavailable(
                    f"records of {self._stage.topic} wait, but none was processed in {STALLED_AFTER:.0f} s"
                )

    def _check_secrets(self) -> None:
        """The client keeps what it came in with: once it is thrown out, it would never get in again."""
        with contextlib.suppress(OSError):  # a file that is being replaced at this moment
            if self._secrets() != self._came_in_with:
                raise Unavailable("the files of secrets or certificates have changed: a new start uses the new ones")


def run(name: str, kafka: KafkaSettings, stage: Stage, state_directory: Path, index: int = 0) -> None:
    """Runs `stage` as process number `index` of group `name`, until SIGTERM or SIGINT.

    Raises what the stage raised; Unavailable when there is no broker, when records wait and nothing moves,
    or when secrets have changed; AccessDenied when the broker does not let us in.
    """
    asyncio.run(_run(name, kafka, stage, state_directory, index))


async def _run(name: str, kafka: KafkaSettings, stage: Stage, state_directory: Path, index: int) -> None:
    state_directory.mkdir(parents=True, exist_ok=True)
    quiet_libraries()
    app = build(name, member_id(name, state_directory, index), kafka, state_directory / "faust")
    try:
        await Runner(app, stage, kafka.secrets_digest).run()
    except KafkaConnectionError as error:
        reach(kafka)  # raises the reason, which aiokafka keeps to itself
        raise Unavailable(f"Kafka cannot be reached at {kafka.bootstrap}: {error}") from error

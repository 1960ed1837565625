"""The subscriber for asyncio: waits without blocking the loop, gives swaps as they come, and ends with the block."""

from __future__ import annotations

import asyncio
import threading

import pytest
from simulators import envelope, pinned
from subscriber_helpers import CHAIN, LONG, MemorySettings, expected, probabilities, publish

from stream_app.errors import Unavailable
from stream_app.serving.model import ServingModel
from stream_app.subscriber.aio import AsyncModelSubscriber


def test_it_waits_serves_and_ends_as_the_other_does() -> None:
    async def serve() -> None:
        async with AsyncModelSubscriber(settings) as subscriber:
            assert subscriber.model is None
            waiting = asyncio.create_task(subscriber.wait(LONG, version=2))
            publish(settings, 1)
            await subscriber.wait(LONG)
            assert not waiting.done()
            publish(settings, 2)
            assert (await waiting).version.number == 2
            assert probabilities(subscriber.model) == expected(2)
            assert subscriber.health().version == 2
        assert not [thread for thread in threading.enumerate() if thread.name == "model-subscriber"]

    settings = MemorySettings()
    asyncio.run(serve())


def test_waiting_in_vain_says_why_and_may_be_cancelled() -> None:
    async def serve() -> None:
        async with AsyncModelSubscriber(settings) as subscriber:
            while not subscriber.health().stage:
                await asyncio.sleep(0)
            with pytest.raises(Unavailable, match=r"no model version 1 within 0\.01 s: pretraining 4/10"):
                await subscriber.wait(0.01)
            waiting = asyncio.create_task(subscriber.wait())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            publish(settings, 1)
            assert (await subscriber.wait(LONG)).version.number == 1

    settings = MemorySettings()
    settings.sink.announce("pretraining 4/10")
    asyncio.run(serve())


def test_the_end_ends_waiting() -> None:
    async def serve() -> None:
        async with AsyncModelSubscriber(MemorySettings()) as subscriber:
            waiting = asyncio.create_task(subscriber.wait())
            await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="no model version 1: the subscriber is closed"):
            await asyncio.wait_for(waiting, LONG)

    asyncio.run(serve())


def test_who_waits_for_what_is_refused_as_stale_gets_it_once_it_is_pinned() -> None:
    async def serve() -> None:
        async with AsyncModelSubscriber(settings, clock=lambda: now) as subscriber:
            while not subscriber.health().stale:
                await asyncio.sleep(0)
            waiting = asyncio.create_task(subscriber.wait(LONG))
            await asyncio.sleep(0)
            settings.sink.log.append(pinned(CHAIN[0], serial=1, sent=envelope().model_copy(update={"times": sent})))
            assert (await waiting).version.number == 1
            assert await anext(aiter(subscriber.swaps())) is subscriber.model

    now, sent = 1_700_000_000.0, {"sent": 1_600_000_000.0}
    settings = MemorySettings(stale_after=60.0, when_stale="refuse")
    publish(settings, 1, **sent)
    asyncio.run(serve())


def test_swaps_come_in_order_who_is_slow_gets_the_newest_and_the_end_ends_them() -> None:
    async def serve() -> list[int]:
        seen = list[int]()
        async with AsyncModelSubscriber(settings) as subscriber:

            async def watch() -> None:
                async for model in subscriber.swaps():
                    seen.append(model.version.number)
                    if model.version.number == 2:
                        publish(settings, 3, 4)
                        await subscriber.wait(LONG, version=4)

            watching = asyncio.create_task(watch())
            await subscriber.wait(LONG)
            while seen != [1]:
                await asyncio.sleep(0)
            publish(settings, 2)
            await subscriber.wait(LONG, version=4)
            while seen[-1] != 4:
                await asyncio.sleep(0)
        await asyncio.wait_for(watching, LONG)
        return seen

    settings = MemorySettings()
    publish(settings, 1)
    assert asyncio.run(serve()) == [1, 2, 4]


def test_a_refused_warm_up_and_staleness_are_told_in_the_subscribers_thread() -> None:
    names = dict[str, str]()

    def told(what: str) -> None:
        names[what] = threading.current_thread().name

    def warm_up(model: ServingModel) -> None:
        if model.version.number == 2:
            raise RuntimeError("cold")

    async def serve() -> None:
        async with AsyncModelSubscriber(
            settings,
            warm_up=warm_up,
            on_refusal=lambda refusal: told("refusal"),
            on_stale=lambda health: told("stale"),
            clock=lambda: 1e10,
        ) as subscriber:
            await subscriber.wait(LONG)
            publish(settings, 2)
            while len(names) < 2:
                await asyncio.sleep(0)

    settings = MemorySettings(stale_after=1.0)
    publish(settings, 1, sent=1e9)
    asyncio.run(serve())
    assert names == {"refusal": "model-subscriber", "stale": "model-subscriber"}

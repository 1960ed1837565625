"""The subscriber for asyncio: the same thread underneath, which tells the event loop of each swap.

    async with AsyncModelSubscriber(settings) as subscriber:
        await subscriber.wait(timeout=60)
        ...
        model = subscriber.model                      # once a request: everything in it is of one version

Scoring computes and does not wait for anything: what takes long belongs into a thread (`asyncio.to_thread`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from stream_app.errors import VersionRejected
from stream_app.serving.computing import Serving
from stream_app.serving.model import ServingModel
from stream_app.subscriber.health import Health
from stream_app.subscriber.settings import SubscriberSettings
from stream_app.subscriber.subscriber import ModelSubscriber, _guarded
from stream_app.telemetry import wall_clock


class _Telling(ModelSubscriber):
    """Wakes an event loop, too, whenever what may be used is another model or may be used again."""

    def __init__(self, wake: Callable[[], None], settings: SubscriberSettings, **given: Any) -> None:
        super().__init__(settings, **given)
        self._wake_loop = wake

    def _wake(self) -> None:
        super()._wake()
        _guarded(self._wake_loop)


class AsyncModelSubscriber:
    """As `ModelSubscriber`, for one event loop; what is given here is called in the subscriber's thread, too."""

    def __init__(
        self,
        settings: SubscriberSettings,
        *,
        on_refusal: Callable[[VersionRejected], None] | None = None,
        on_stale: Callable[[Health], None] | None = None,
        warm_up: Callable[[ServingModel], object] | None = None,
        serving: Serving | None = None,
        clock: Callable[[], float] = wall_clock,
    ) -> None:
        self._subscriber = _Telling(
            self._wake,
            settings,
            on_refusal=on_refusal,
            on_stale=on_stale,
            warm_up=warm_up,
            serving=serving,
            clock=clock,
        )
        self._swap, self._closed = asyncio.Event(), False

    @property
    def model(self) -> ServingModel | None:
        """See `ModelSubscriber.model`."""
        return self._subscriber.model

    def health(self) -> Health:
        """See `ModelSubscriber.health`."""
        return self._subscriber.health()

    async def __aenter__(self) -> Self:
        """See `ModelSubscriber.__enter__`."""
        self._loop = asyncio.get_running_loop()
        self._subscriber.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """See `ModelSubscriber.close`; the event loop goes on meanwhile."""
        await asyncio.to_thread(self._subscriber.close)
        self._closed = True
        self._tell()

    async def wait(self, timeout: float | None = None, version: int = 1) -> ServingModel:
        """See `ModelSubscriber.wait`; may be cancelled."""
        try:
            async with asyncio.timeout(timeout):
                while (model := self._subscriber._usable(version)) is None:
                    if self._closed:
                        raise self._subscriber._unavailable(version, timeout)
                    await self._swap.wait()
                return model
        except TimeoutError:
            raise self._subscriber._unavailable(version, timeout) from None

    async def swaps(self) -> AsyncIterator[ServingModel]:
        """What is served, if anything, then what is swapped in, until the end; who is slow gets the newest only."""
        given: ServingModel | None = None
        while not self._closed:
            model = self._subscriber._usable(1)
            if model is None or model is given:
                await self._swap.wait()
            else:
                given = model
                yield model

    def _wake(self) -> None:
        """In the subscriber's thread."""
        self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        """Wakes all who wait; in the loop's thread, where nothing can come between looking and waiting."""
        self._swap.set()
        self._swap = asyncio.Event()

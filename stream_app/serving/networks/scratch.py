"""Arrays of a thread's own for hidden layers, request after request: fresh memory would cost more than a layer."""

from __future__ import annotations

import threading

import numpy as np

from stream_app.serving.networks.network import Floats


class Scratch(threading.local):
    """Of the largest request that the thread has had so far, which networks bound by asking for blocks."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.float32)
        self._asked: tuple[tuple[int, ...], int] = ((), 0)
        self._layers: list[Floats] = []

    def layers(self, widths: tuple[int, ...], count: int) -> list[Floats]:
        """An array [width, count] for each width; whatever was left in it, good until this thread asks again."""
        if self._asked != (widths, count):
            if len(self._memory) < sum(widths) * count:
                self._memory = np.empty(sum(widths) * count, np.float32)
            ends = np.cumsum((0, *widths)) * count
            self._layers = [
                self._memory[begin : begin + width * count].reshape(width, count)
                for begin, width in zip(ends.tolist(), widths, strict=False)
            ]
            self._asked = widths, count
        return self._layers


SCRATCH = Scratch()

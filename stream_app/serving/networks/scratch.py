"""Arrays of a thread's own that hold what is computed in between, request after request."""

from __future__ import annotations

import threading
from math import prod

import numpy as np

from stream_app.serving.networks.network import Floats


class Scratch(threading.local):
    """Fresh memory for every hidden layer costs more than the layer."""

    def __init__(self) -> None:
        self._arrays: dict[str, Floats] = {}

    def floats(self, name: str, *shape: int) -> Floats:
        """Whatever was left in it; good until this thread asks for the same name again."""
        size = prod(shape)
        array = self._arrays.get(name)
        if array is None or len(array) < size:
            array = self._arrays[name] = np.empty(size, np.float32)
        return array[:size].reshape(shape)


SCRATCH = Scratch()

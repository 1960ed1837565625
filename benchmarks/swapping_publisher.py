"""A publisher for the proof `swaps`: writes versions into a directory when told, and says what each must answer.

What it must answer is computed from the arrays by arithmetic written here, in float64, and by nothing of ours.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.sinks.directory import DirectorySink
from stream_app.versions.columns import ids_to_tensors
from stream_app.versions.manifest import Envelope, Period, Rows
from stream_app.versions.model_version import ModelVersion, build

USERS, ITEMS, WIDTH, CANDIDATES, HISTORY, REQUESTS = 20_000, 10_000, 8, 500, 30, 4
USER_IDS, ITEM_IDS = np.arange(USERS) * 7 + 3, np.arange(ITEMS) * 3 + 1
EXPECTED = "expected.f32"

Arrays = Mapping[str, NDArray[np.float32]]


class Request(NamedTuple):
    """Places in `USER_IDS` and `ITEM_IDS`: one user, [CANDIDATES] items, [HISTORY] items."""

    user: int
    items: NDArray[np.int64]
    history: NDArray[np.int64]


def request(number: int) -> Request:
    """The request that reader `number` makes again and again."""
    draw = np.random.default_rng(number)
    items = draw.permutation(ITEMS)
    return Request(int(draw.integers(USERS)), items[:CANDIDATES], items[CANDIDATES:][:HISTORY])


def parameters(number: int) -> Arrays:
    """Of version `number`: tables that turn slowly, layers that are drawn anew."""
    draw = np.random.default_rng(1_000 + number)
    tables = {"user": (USERS + 1, WIDTH), "item": (ITEMS + 1, WIDTH)}
    shapes = {"w1": (3 * WIDTH, 12), "b1": (12,), "w2": (12, 6), "b2": (6,), "w3": (6, 1), "b3": (1,)}
    drawn = {name: draw.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    for name, shape in tables.items():
        table = np.resize(draw.normal(0, 1, (shape[0] // 10, WIDTH)), shape).astype(np.float32)
        table[0] = 0
        drawn[name] = table
    return drawn


def expected(arrays: Arrays, asked: Request) -> NDArray[np.float64]:
    """Probabilities [items]: user, mean of the history's items and item, three layers, a sigmoid."""
    exact = {name: array.astype(np.float64) for name, array in arrays.items()}
    items = exact["item"][asked.items + 1]
    common = np.concatenate([exact["user"][asked.user + 1], exact["item"][asked.history + 1].mean(axis=0)])
    hidden = np.concatenate([np.tile(common, (len(items), 1)), items], axis=1) @ exact["w1"] + exact["b1"]
    hidden = np.maximum(hidden, 0) @ exact["w2"] + exact["b2"]
    logits = np.maximum(hidden, 0) @ exact["w3"] + exact["b3"]
    return 1 / (1 + np.exp(-logits[:, 0]))


def version(
    number: int, parent: str, arrays: Arrays, users: NDArray[np.int64] = USER_IDS, items: NDArray[np.int64] = ITEM_IDS
) -> ModelVersion:
    """As a trainer would make it: every byte is hashed here, once."""
    return build(
        number,
        parent,
        Period(number=number, start=0, end=1, interactions=1),
        Rows(count=1, sha256=hashlib.sha256().hexdigest()),
        {"settings_digest": "0" * 64, "method": "iu", "base_model": "embedding-mlp"},
        {},
        {},
        {"serving": "iu"},
        {
            **{f"parameters.{name}": array for name, array in arrays.items()},
            **ids_to_tensors("users", users),
            **ids_to_tensors("items", items),
        },
    )


def main(folder: Path) -> None:
    """For each line "N" on stdin: N more versions, their answers behind those before in `EXPECTED`, a line when done.

    What was there before is served or passed over by then, and is removed.
    """
    sink, number, parent = DirectorySink(folder / "versions"), 0, ""
    sink.open()
    for line in sys.stdin:
        before = list(sink.path.glob("0*"))
        for _ in range(int(line)):
            number += 1
            arrays = parameters(number)
            made = version(number, parent, arrays)
            sink.write(made, Envelope(model="default"))
            parent = made.digest
            with (folder / EXPECTED).open("ab") as file:
                file.write(np.stack([expected(arrays, request(r)) for r in range(REQUESTS)]).astype("<f4").tobytes())
        for old in before:
            shutil.rmtree(old)
        print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

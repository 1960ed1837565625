"""How long `score` and `recommend` take beside the bare numpy arithmetic of the same shapes, which starts from rows.

Candidates are drawn anew for each call, ours and bare turn by turn, in a process with one thread. Integer ids come in
the two ways in which they are kept: 46,033 of the integers below 364,047 (the size of globo's catalogue), and any of 64
bits; the candidates are an array. String ids of 22 characters come as a list; numpy has nothing for these, there bare
begins with a Python dictionary, which a serving process of ours does not hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.serving.model import ServingModel
from stream_app.versions.columns import ids_to_tensors
from stream_app.versions.manifest import Period, Rows
from stream_app.versions.model_version import ModelVersion, build

GLOBO, MILLION, USERS = 46_033, 1_000_000, 100_000
CANDIDATES, HISTORY, TOP = 500, 30, 100
CALLS = {"500 of 46,033": 4000, "top 100 of 46,033": 800, "500 of 1,000,000": 2000, "top 100 of 1,000,000": 60}
Calls = tuple[Callable[["Asked"], object], Callable[["Asked"], object]]


def run() -> dict[str, Any]:
    """In a process of its own, since the number of threads is settled when numpy is imported."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        cwd=Path(__file__).parents[2],
        env=os.environ | threads,
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    bounds = {
        f"{case}, {ids}: at most 1.3 times bare": times["times_bare"] <= 1.3
        for case, kinds in found.items()
        for ids, times in kinds.items()
    }
    slowest = max(times["p99_ms"] for times in found["top 100 of 46,033"].values())
    return {"latency": found, "bounds": bounds | {"top 100 of 46,033 within 5 ms (p99)": slowest <= 5}}


def measured() -> dict[str, Any]:
    """Per case and kind of ids: milliseconds of both, and the median of ours by that of bare."""
    found: dict[str, Any] = {case: {} for case in CALLS}
    for items, name in ((GLOBO, "46,033"), (MILLION, "1,000,000")):
        for kind, ids in kinds_of_ids(items).items():
            model, requests = ServingModel(version(ids)), Requests(ids)
            bare = Bare(model.version, ids)
            calls: dict[str, Calls] = {
                f"500 of {name}": (
                    lambda asked, model=model: model.score(asked.user, asked.candidates, asked.history),
                    lambda asked, bare=bare: bare.scores(asked),
                ),
                f"top 100 of {name}": (
                    lambda asked, model=model: model.recommend(asked.user, TOP, history=asked.history),
                    lambda asked, bare=bare: bare.best(asked),
                ),
            }
            for case, both in calls.items():
                found[case][kind] = compared(both, requests, CALLS[case])
    return found


def compared(calls: Calls, requests: Requests, rounds: int) -> dict[str, float]:
    """Turn by turn, each request for both, after a tenth of the rounds to warm up."""
    seconds = []
    for turn in range(rounds + rounds // 10):
        asked = requests.next()
        both = [_seconds(call, asked) for call in (calls if turn % 2 else reversed(calls))]
        seconds.append(both if turn % 2 else both[::-1])
    quantiles = np.quantile(np.array(seconds)[rounds // 10 :], [0.5, 0.99], axis=0) * 1000
    names = ("p50_ms", "bare_p50_ms", "p99_ms", "bare_p99_ms")
    times = {name: round(float(value), 4) for name, value in zip(names, quantiles.ravel(), strict=True)}
    return times | {"times_bare": round(times["p50_ms"] / times["bare_p50_ms"], 2)}


def _seconds(call: Callable[[Asked], object], asked: Asked) -> float:
    begin = time.perf_counter()
    call(asked)
    return time.perf_counter() - begin


def kinds_of_ids(count: int) -> dict[str, Any]:
    """Item ids in a row order that says nothing."""
    draw = np.random.default_rng(1)
    return {
        "dense integers": draw.permutation(364_047 if count == GLOBO else 2 * count)[:count],
        "64-bit integers": np.unique(draw.integers(0, 2**63, count + 100))[:count],
        "strings": [f"item-{number:017d}" for number in draw.permutation(10 * count)[:count].tolist()],
    }


def version(ids: NDArray[np.int64] | Sequence[str]) -> ModelVersion:
    """Embedding & MLP of the default sizes, with random weights."""
    draw = np.random.default_rng(2)
    shapes = {"user": (USERS + 1, 8), "item": (len(ids) + 1, 8), "w1": (24, 12), "w2": (12, 6), "w3": (6, 1)}
    shapes |= {"b1": (12,), "b2": (6,), "b3": (1,)}
    weights = {f"parameters.{name}": draw.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    vocabularies = ids_to_tensors("users", np.arange(USERS)) | ids_to_tensors("items", ids)
    period, rows = Period(number=1, start=0, end=1, interactions=1), Rows(count=1, sha256="0" * 64)
    learning = {"settings_digest": "0" * 64, "method": "iu", "base_model": "embedding-mlp"}
    return build(1, "", period, rows, learning, {}, {}, {}, weights | vocabularies)


class Asked(NamedTuple):
    """One request, as ids and as rows."""

    user: int
    candidates: Any
    history: Any
    user_row: int
    rows: NDArray[np.int64]
    history_rows: NDArray[np.int64]


class Requests:
    """Users, candidates and histories that are known."""

    def __init__(self, ids: NDArray[np.int64] | Sequence[str]) -> None:
        self._ids, self._draw = ids, np.random.default_rng(3)

    def next(self) -> Asked:
        """Drawn anew."""
        user = int(self._draw.integers(USERS))
        rows, history = (self._draw.integers(1, len(self._ids) + 1, size) for size in (CANDIDATES, HISTORY))
        return Asked(user, self._of(rows), self._of(history), user + 1, rows, history)

    def _of(self, rows: NDArray[np.int64]) -> Any:
        if isinstance(self._ids, np.ndarray):
            return self._ids[rows - 1]
        return [self._ids[row - 1] for row in rows.tolist()]


class Bare:
    """The arithmetic as one writes it in numpy, from rows; the items' share of the first layer is there already."""

    def __init__(self, version: ModelVersion, ids: NDArray[np.int64] | Sequence[str]) -> None:
        self.by_text = {} if isinstance(ids, np.ndarray) else {text: row for row, text in enumerate(ids, 1)}
        tensors = {name.removeprefix("parameters."): array for name, array in version.tensors.items()}
        self.user, self.item = tensors["user"], tensors["item"]
        self.of_user, self.of_history, of_item = np.split(tensors["w1"], 3)
        self.share = self.item @ of_item
        self.b1, self.w2, self.b2, self.w3, self.b3 = (tensors[name] for name in ("b1", "w2", "b2", "w3", "b3"))

    def probabilities(self, user: int, history: NDArray[np.int64], items: Any) -> NDArray[np.float32]:
        """Of items, by their rows or all of them by a slice."""
        of_all = self.user[user] @ self.of_user + self.item[history].mean(axis=0) @ self.of_history + self.b1
        hidden = np.maximum(self.share[items] + of_all, 0)
        hidden = np.maximum(hidden @ self.w2 + self.b2, 0)
        probabilities: NDArray[np.float32] = 1 / (1 + np.exp(-(hidden @ self.w3 + self.b3)[:, 0]))
        return probabilities

    def scores(self, asked: Asked) -> NDArray[np.float32]:
        """Of the candidates."""
        return self.probabilities(
            asked.user_row, self.rows(asked.history, asked.history_rows), self.rows(asked.candidates, asked.rows)
        )

    def rows(self, ids: Any, rows: NDArray[np.int64]) -> Any:
        """Strings are looked up; of integers the rows are given."""
        return [self.by_text[text] for text in ids] if self.by_text else rows

    def best(self, asked: Asked) -> NDArray[np.int64]:
        """Places of the best of all items, best first."""
        history = self.rows(asked.history, asked.history_rows)
        probabilities = self.probabilities(asked.user_row, history, slice(1, None))
        first = np.argpartition(probabilities, -TOP)[-TOP:]
        return first[np.argsort(-probabilities[first])]


if __name__ == "__main__":
    json.dump(measured(), sys.stdout)

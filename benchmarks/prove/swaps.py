"""1,000 swaps under four threads that ask at full speed: no answer is a mix, and what a swap costs a request.

Blocks of swaps and blocks of quiet alternate, so that both meet the same machine. Two threads score 500 candidates, two
recommend 20 of them. Every different answer is compared with what each version must answer, computed elsewhere.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.swapping_publisher import CANDIDATES, EXPECTED, ITEM_IDS, REQUESTS, USER_IDS, request
from stream_app.serving.model import ServingModel
from stream_app.subscriber import ModelSubscriber, SubscriberSettings

SWAPS, BLOCKS, BEST, TOLERANCE = 1_000, 10, 20, 1e-5
Phase = Literal["quiet", "swapping"]


class Reader(threading.Thread):
    """Asks one request again and again; keeps every different answer, and how long each call took."""

    def __init__(self, subscriber: ModelSubscriber, number: int) -> None:
        super().__init__(name=f"reader-{number}")
        self._subscriber, self.number = subscriber, number
        self.seconds: dict[Phase, array[float]] = {"quiet": array("d"), "swapping": array("d")}
        self.answers: Counter[bytes] = Counter()
        self.phase: Phase | None = "quiet"

    def run(self) -> None:
        """Until there is no phase any more."""
        ask = asking(self.number)
        while (phase := self.phase) is not None:
            begin = time.perf_counter()
            model = self._subscriber.model
            assert model is not None
            answer = ask(model)
            self.seconds[phase].append(time.perf_counter() - begin)
            self.answers[answer.tobytes()] += 1


def asking(number: int) -> Callable[[ServingModel], NDArray[np.float32]]:
    """The request of a reader; its answer as probabilities [CANDIDATES], NaN for those that are not recommended."""
    asked = request(number)
    user, items, history = int(USER_IDS[asked.user]), ITEM_IDS[asked.items], ITEM_IDS[asked.history]
    place = {item: at for at, item in enumerate(items.tolist())}

    def recommended(model: ServingModel) -> NDArray[np.float32]:
        best = model.recommend(user, BEST, among=items, history=history)
        answer = np.full(CANDIDATES, np.nan, np.float32)
        answer[[place[item] for item in best.items]] = best.probabilities
        return answer

    return recommended if number % 2 else lambda model: model.score(user, items, history)


def run() -> dict[str, Any]:
    """Swap, meanwhile ask; then judge every answer."""
    with tempfile.TemporaryDirectory() as folder, publishing(Path(folder)) as publish:
        settings = SubscriberSettings(directory=Path(folder, "versions"), poll=0.01)
        with ModelSubscriber(settings) as subscriber:
            publish(1)
            subscriber.wait(60)
            readers = [Reader(subscriber, number) for number in range(REQUESTS)]
            seconds = asked(subscriber, readers, publish)
            health = subscriber.health()
        expected = np.fromfile(Path(folder, EXPECTED), "<f4").reshape(-1, REQUESTS, CANDIDATES)
    wrong, met = judged(readers, expected)
    quiet, swapping = (spread(readers, phase) for phase in ("quiet", "swapping"))
    return {
        **{"swaps": health.swaps - 1, "swaps_per_second": round(SWAPS / seconds, 1), "refusals": health.refusals},
        **{"threads": REQUESTS, "candidates": CANDIDATES, "versions_met_in_answers": met, "wrong_answers": wrong},
        **{"quiet": quiet, "swapping": swapping},
        "p99_swapping_against_quiet": round(swapping["p99_ms"] / quiet["p99_ms"], 2),
        "bounds": {
            f"{SWAPS} swaps": (health.swaps, health.refusals) == (SWAPS + 1, 0),
            "each answer is that of exactly one version": wrong == 0,
        },
    }


def asked(subscriber: ModelSubscriber, readers: list[Reader], publish: Callable[[int], None]) -> float:
    """Run the readers through quiet and swaps; seconds of swapping. Each phase of quiet lasts as long as the swaps."""
    swapping, took = 0.0, 1.0
    for reader in readers:
        reader.start()
    for block in range(1, BLOCKS + 1):
        time.sleep(took)
        turn(readers, "swapping")
        begin = time.perf_counter()
        publish(SWAPS // BLOCKS)
        subscriber.wait(120, version=1 + block * SWAPS // BLOCKS)
        took = time.perf_counter() - begin
        swapping += took
        turn(readers, "quiet")
    turn(readers, None)
    for reader in readers:
        reader.join()
    return swapping


def turn(readers: list[Reader], phase: Phase | None) -> None:
    """All readers go on in this phase."""
    for reader in readers:
        reader.phase = phase


def judged(readers: list[Reader], expected: NDArray[np.float32]) -> tuple[int, int]:
    """How many answers are not those of exactly one version, and how many versions were met. expected: float32
    [versions, requests, candidates]."""
    wrong, met = 0, set[int]()
    for reader in readers:
        for raw, count in reader.answers.items():
            answer = np.frombuffer(raw, np.float32)
            given = ~np.isnan(answer)
            own = expected[:, reader.number]
            same = np.abs(own[:, given] - answer[given]).max(axis=1) <= TOLERANCE
            worst = np.sort(own, axis=1)[:, -np.count_nonzero(given)]
            versions = np.flatnonzero(same & (answer[given].min() >= worst - TOLERANCE))
            wrong += count * (len(versions) != 1)
            met.update(versions.tolist())
    return wrong, len(met)


def spread(readers: list[Reader], phase: Phase) -> dict[str, float]:
    """Milliseconds of a call, all readers together; the longest is the longest pause that any of them saw."""
    seconds = np.concatenate([np.asarray(reader.seconds[phase]) for reader in readers])
    p50, p99, longest = np.quantile(seconds, [0.5, 0.99, 1.0]) * 1_000
    return {
        "calls": len(seconds),
        **{name: round(float(value), 3) for name, value in (("p50_ms", p50), ("p99_ms", p99), ("longest_ms", longest))},
    }


@contextmanager
def publishing(folder: Path) -> Iterator[Callable[[int], None]]:
    """Another process that publishes so many versions when told; returns once they are there."""
    command = [sys.executable, "-m", "benchmarks.swapping_publisher", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        given, said = process.stdin, process.stdout
        assert given is not None
        assert said is not None

        def publish(count: int) -> None:
            print(count, file=given, flush=True)
            assert said.readline() == "done\n"

        yield publish

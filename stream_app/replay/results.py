"""What a replay keeps of each period beside the database: one line of JSON, written before the period is committed.

Rules:
1. A line is on disk before the store calls its period done; so a period that is done always has one.
2. A later line of the same period replaces the earlier one; a line of a period that is not done does not count.
3. A line that a killed process left half-written is cut off.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.metrics import Score
from stream_app.errors import StoreCorrupted
from stream_app.pipeline import Updated

_REMEDY = "restore the file, or begin anew with --new-run"

METRICS = (
    *("auc", "log_loss", "auc_seen_items", "log_loss_seen_items"),
    *("gauc", "normalized_entropy", "ece", "calibration"),
)
"""Of `models.metrics.Score`; a result written by an earlier release may have fewer."""


@dataclass(frozen=True)
class PeriodResult:
    """One update period of a replay.

    samples: interactions and drawn negatives; serving: the method whose model served this period, None while
    pretraining; candidates: {method: {metric: value}}, scored before anything trained on the period, None where a
    metric is not defined, "auto" being what served where that selects; version, digest: what serves from now on, None
    while pretraining; decisions: how that was chosen; seconds: by stage.
    """

    period: int
    interactions: int
    samples: int
    serving: str | None
    candidates: Mapping[str, Mapping[str, float | None]]
    version: int | None
    digest: str | None
    seconds: Mapping[str, float]
    decisions: Mapping[str, str | int | float | None] = field(default_factory=dict)

    @staticmethod
    def of(updated: Updated) -> PeriodResult:
        """From what the pipeline yields."""
        outcome, version = updated.outcome, updated.version
        return PeriodResult(
            period=updated.period.number,
            interactions=outcome.interactions,
            samples=outcome.samples,
            serving=outcome.served,
            candidates={method: _metrics(score) for method, score in outcome.scores.items()},
            version=version.number if version else None,
            digest=version.digest if version else None,
            seconds={stage: round(spent, 3) for stage, spent in updated.seconds.items()},
            decisions=outcome.decisions,
        )


class ResultLog:
    """The file of results, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results = _read(path)
        self._file = path.open("ab")

    def put(self, result: PeriodResult) -> None:
        """On disk when it returns."""
        self._results[result.period] = result
        self._file.write(json.dumps(asdict(result), allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def done(self, last: int, closed: Iterable[int]) -> list[PeriodResult]:
        """The results up to period `last`, in order; of a journal that is made anew `closed` are few or none.

        closed: numbers of periods. Raises StoreCorrupted when one up to `last` has no result.
        """
        for number in closed:
            if number <= last and number not in self._results:
                raise StoreCorrupted(f"{self._path}: the result of period {number} is gone", _REMEDY)
        return [self._results[number] for number in sorted(self._results) if number <= last]

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


def _read(path: Path) -> dict[int, PeriodResult]:
    """The results in the file; what follows its last whole line is cut off (rule 3)."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
    try:
        parsed = [PeriodResult(**json.loads(line)) for line in data[:whole].splitlines()]
    except (ValueError, TypeError) as error:
        raise StoreCorrupted(f"{path}: {error}", _REMEDY) from error
    return {result.period: result for result in parsed}


def _metrics(score: Score) -> dict[str, float | None]:
    values: dict[str, float] = {name: getattr(score, name) for name in METRICS}
    return {name: None if math.isnan(value) else value for name, value in values.items()}

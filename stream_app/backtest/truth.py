"""The floor of the log loss, for a recording that knows how probable each label was, as `asmg generate` writes it.

What a method's log loss has above the floor is its regret. Only labels of the recording have a true probability: drawn
negatives have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.interactions import Interactions
from models.metrics.loss import log_loss, true_losses
from stream_app.backtest.study import Study
from stream_app.backtest.summary import Run, scored
from stream_app.errors import BadInput, SettingsError
from stream_app.formats import recording as files
from stream_app.formats.recorded import reading
from stream_app.store.journal_view import JournalView

Floor = Mapping[int, float]
"""Period -> log loss of the true probabilities on its rows."""


def check_truth(study: Study) -> None:
    """Raises SettingsError or BadInput when the column that the study names cannot say a floor."""
    if study.truth is None:
        return
    if study.settings.learning.negatives:
        raise SettingsError(
            "learning.negatives",
            f"is {study.settings.learning.negatives}, and drawn negatives have no true probability",
            "set it to 0 (explicit labels), or leave --truth out",
        )
    _column(study.recording, study.truth)


def floor_of(study: Study, journal: JournalView) -> Floor | None:
    """Of each closed period; None where the study names no truth. Raises BadInput."""
    if study.truth is None:
        return None
    decoded = list(files.read(study.recording, study.settings.records))
    rows = Interactions.concatenate([part.interactions for part in decoded])
    truth = _column(study.recording, study.truth)[np.concatenate([part.offsets for part in decoded])]
    # In time, so that the order in which periods were cut is the canonical order of the whole recording.
    order = rows.canonical_order()
    found, first = dict[int, float](), 0
    for closed in journal.periods():
        part = order[first : first + closed.period.rows]
        inside = journal.interactions(closed.period)
        if not np.array_equal(rows.times[part], inside.times) or not np.array_equal(rows.labels[part], inside.labels):
            raise BadInput(study.recording, "rows came late: which period they are in is not known here", "sort it")
        found[closed.period.number] = _loss(study, truth[part], inside.labels)
        first += closed.period.rows
    return found


def regrets(runs: Sequence[Run], floor: Floor, methods: Sequence[str]) -> dict[str, Any]:
    """ "truth" of report.json: the floor, and each method's mean log loss over seeds above it, by scored period."""
    by_period = list(zip(*map(scored, runs), strict=True))  # all runs have the same periods: those of one journal
    found: dict[str, list[list[float | None]]] = {method: [] for method in methods}
    for periods in by_period:
        number = periods[0]["period"]
        for method in methods:
            losses = [period["scores"][method]["log_loss"] for period in periods]
            found[method].append([number, None if None in losses else fmean(losses) - floor[number]])
    return {"log_loss": [[p["period"], floor[p["period"]]] for p, *_ in by_period], "regret": found}


def _loss(study: Study, truth: NDArray[np.float64], labels: NDArray[np.float32]) -> float:
    try:
        return log_loss(true_losses(truth, labels))
    except ValueError as error:
        raise BadInput(study.recording, f"column {study.truth!r}: {error}", "name another one") from error


def _column(recording: Path, name: str) -> NDArray[np.float64]:
    """The numbers of a column, a row each."""
    if recording.suffix.lower() != ".parquet":
        raise BadInput(recording, "--truth reads Parquet only", "write the recording as .parquet")
    with reading(recording):
        schema = pq.read_schema(recording)
        if name not in schema.names:
            columns = ", ".join(schema.names)
            raise BadInput(recording, f"has no column {name!r}; its columns are {columns}", "name one with --truth")
        if not pa.types.is_floating(schema.field(name).type):
            raise BadInput(recording, f"column {name!r} holds {schema.field(name).type}, not floating-point numbers")
        column = pq.read_table(recording, columns=[name])[name]
    values: NDArray[np.float64] = column.to_numpy().astype(np.float64)
    return values

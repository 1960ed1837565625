"""No leak: labels permuted within each period leave nothing to learn, so every method must score 0.5.

(That nothing of period t+1 can change a score on period t is a law in `tests/laws`, run on every method.)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet as parquet

from benchmarks.machine import recordings
from benchmarks.prove.quality import METHODS

PERIODS = 31


def run() -> dict[str, Any]:
    """Replay movietweetings_100k with permuted labels; mean AUC over the reported periods per method."""
    with tempfile.TemporaryDirectory() as folder:
        recording = permuted(recordings() / "movietweetings_100k.parquet", Path(folder, "permuted.parquet"))
        command = [
            *(sys.executable, "-m", "stream_app.cli", "replay", str(recording), "--periods", str(PERIODS)),
            *("--pretrain", "10", "--methods", ",".join(METHODS), "--out", f"{folder}/run"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report = json.loads(Path(folder, "run", "report.json").read_text())
    tested = [period["candidates"] for period in report["periods"] if period["candidates"]]
    auc = {method: round(mean(scores[method]["auc"] for scores in tested), 4) for method in METHODS}
    bounds = {f"{method} AUC is 0.5 +- 0.01 on permuted labels": abs(auc[method] - 0.5) <= 0.01 for method in METHODS}
    return {"auc": auc, "periods": len(tested), "bounds": bounds}


def permuted(source: Path, target: Path) -> Path:
    """The recording with its labels shuffled within each equal-count period, in canonical order."""
    names = ("user_id", "item_id", "timestamp", "label")
    table = parquet.read_table(source, columns=list(names))
    columns = {name: table[name].to_numpy() for name in names}
    order = np.lexsort(tuple(columns[name] for name in ("label", "item_id", "user_id", "timestamp")))
    columns = {name: column[order] for name, column in columns.items()}
    draw = np.random.default_rng(0)
    count = len(order) // PERIODS
    for start in range(0, len(order), count):
        columns["label"][start : start + count] = draw.permutation(columns["label"][start : start + count])
    parquet.write_table(pyarrow.table(columns), target)
    return target
